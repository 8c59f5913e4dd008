# Completion of ktrdr-sandbox, and of `ktrdr sandbox`, for bash.
# To use it:  eval "$(ktrdr-sandbox completion bash)"  in ~/.bashrc

_ktrdr_sandbox_complete() {
    local value about listing= values=() abouts=() number
    while IFS=$'\t' read -r value about; do
        # Of `--option=value` bash replaces only what follows the `=`.
        if [[ $value == --*=* && $2 != *=* ]]; then value=${value#*=}; fi
        values+=("$value")
        abouts+=("$about")
    done < <(_KTRDR_SANDBOX_COMPLETE=bash command ktrdr-sandbox "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    COMPREPLY=()
    if [ "${#values[@]}" = 0 ]; then
        compopt -o default -o filenames 2>/dev/null || COMPREPLY=($(compgen -f -- "$2"))
        return 0
    fi
    case ${COMP_TYPE-9} in 33 | 63 | 64) if [ "${#values[@]}" != 1 ]; then listing=yes; fi ;; esac
    for number in "${!values[@]}"; do
        value=${values[number]}
        if [[ $listing ]]; then
            if [[ ${abouts[number]} ]]; then printf -v value '%-20s (%s)' "$value" "${abouts[number]}"; fi
        elif [[ $2 != [\'\"]* && $value == *[!A-Za-z0-9_./:=@%+,~^-]* ]]; then
            printf -v value %q "$value"
        fi
        COMPREPLY+=("$value")
    done
    return 0
}

# `ktrdr` is another program as well: its own completion goes on, but for `ktrdr sandbox`.
_ktrdr_sandbox_of_ktrdr() {
    if [ "$COMP_CWORD" -gt 1 ] && [ "${COMP_WORDS[1]}" = sandbox ]; then
        _ktrdr_sandbox_complete "$@"
    elif [ -n "${_ktrdr_sandbox_before-}" ]; then
        "$_ktrdr_sandbox_before" "$@"
    elif [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W sandbox -- "$2"))
    fi
}

if ! [[ "$(complete -p ktrdr 2>/dev/null)" == *_ktrdr_sandbox_of_ktrdr* ]]; then
    _ktrdr_sandbox_before=$(complete -p ktrdr 2>/dev/null)
    case $_ktrdr_sandbox_before in
        *" -F "*)
            _ktrdr_sandbox_before=${_ktrdr_sandbox_before#* -F }
            _ktrdr_sandbox_before=${_ktrdr_sandbox_before%% *}
            ;;
        *) _ktrdr_sandbox_before= ;;
    esac
    complete -o default -F _ktrdr_sandbox_of_ktrdr ktrdr
fi
# Slots and branches come in an order of their own; bash before 4.4 sorts them all the same.
complete -o nosort -F _ktrdr_sandbox_complete ktrdr-sandbox 2>/dev/null ||
    complete -F _ktrdr_sandbox_complete ktrdr-sandbox
