#compdef ktrdr-sandbox
# Completion of ktrdr-sandbox, and of `ktrdr sandbox`, for zsh.
# To use it:  eval "$(ktrdr-sandbox completion zsh)"  in ~/.zshrc, after compinit;
# or as a file `_ktrdr-sandbox` in a folder of $fpath.

_ktrdr_sandbox_complete() {
    local -a found described
    local line value
    found=("${(@f)$(_KTRDR_SANDBOX_COMPLETE=zsh command ktrdr-sandbox \
        "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    if [[ -z $found[1] ]]; then
        compset -P '--*='
        _files
        return
    fi
    for line in $found; do
        value=${line%%$'\t'*}
        value=${value//\\/\\\\}
        value=${value//:/\\:}
        if [[ $line == *$'\t'* ]]; then
            described+=("$value:${line#*$'\t'}")
        else
            described+=("$value")
        fi
    done
    _describe -V -t values 'ktrdr-sandbox' described
}

# `ktrdr` is another program as well: its own completion goes on, but for `ktrdr sandbox`.
_ktrdr_sandbox_of_ktrdr() {
    if (( CURRENT > 2 )) && [[ $words[2] == sandbox ]]; then
        _ktrdr_sandbox_complete
    elif [[ -n $_ktrdr_sandbox_before ]]; then
        $_ktrdr_sandbox_before "$@"
    elif (( CURRENT == 2 )); then
        compadd sandbox
    else
        _files
    fi
}

if [[ $funcstack[1] == _ktrdr-sandbox ]]; then
    _ktrdr_sandbox_complete "$@"
else
    if ! (( $+functions[compdef] )); then
        autoload -Uz compinit && compinit
    fi
    if [[ ${_comps[ktrdr]-} != _ktrdr_sandbox_of_ktrdr ]]; then
        typeset -g _ktrdr_sandbox_before=${_comps[ktrdr]-}
    fi
    compdef _ktrdr_sandbox_complete ktrdr-sandbox
    compdef _ktrdr_sandbox_of_ktrdr ktrdr
fi
