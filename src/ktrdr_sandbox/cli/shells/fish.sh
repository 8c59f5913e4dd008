# Completion of ktrdr-sandbox, and of `ktrdr sandbox`, for fish.
# To use it:  ktrdr-sandbox completion fish > ~/.config/fish/completions/ktrdr-sandbox.fish

function __ktrdr_sandbox_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found (env _KTRDR_SANDBOX_COMPLETE=fish ktrdr-sandbox \
        (string unescape -- $words) (string unescape -- "$current"; or echo "$current") 2>/dev/null)
    if test -z "$found"
        set -l option (string match -r -- '^--[^=]*=' "$current")
        string replace -r '^' -- "$option" (__fish_complete_path (string replace -- "$option" '' "$current"))
    else
        string join -- \n $found
    end
end

function __ktrdr_sandbox_is_meant
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test "$words[2]" = sandbox
end

complete -c ktrdr-sandbox --no-files --keep-order -a '(__ktrdr_sandbox_complete)'
# `ktrdr` is another program as well: its own completion goes on, but for `ktrdr sandbox`.
complete -c ktrdr -n '__ktrdr_sandbox_is_meant' --no-files --keep-order -a '(__ktrdr_sandbox_complete)'
complete -c ktrdr -n 'test (count (commandline -opc)) -eq 1' -a sandbox -d 'Isolated stacks, one per git branch'
