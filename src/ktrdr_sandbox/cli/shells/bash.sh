# Completion of ktrdr-sandbox, and of `ktrdr sandbox`, for bash.
# To use it:  eval "$(ktrdr-sandbox completion bash)"  in ~/.bashrc

_ktrdr_sandbox_complete() {
    local found line
    COMPREPLY=()
    found=$(COMP_LINE=$COMP_LINE COMP_POINT=$COMP_POINT COMP_TYPE=${COMP_TYPE-9} \
        _KTRDR_SANDBOX_COMPLETE=bash command ktrdr-sandbox "$1" "$2" "${3-}" 2>/dev/null) || return 0
    if [ "$found" = ":files" ]; then
        compopt -o default -o filenames 2>/dev/null || COMPREPLY=($(compgen -f -- "$2"))
        return 0
    fi
    while IFS= read -r line; do
        if [ -n "$line" ]; then COMPREPLY+=("$line"); fi
    done <<<"$found"
    case ${COMPREPLY[0]-} in
        *=) if [ "${#COMPREPLY[@]}" = 1 ]; then compopt -o nospace 2>/dev/null; fi ;;
    esac
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
