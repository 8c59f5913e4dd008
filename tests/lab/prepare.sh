# shellcheck shell=bash
# Sourced by scripts/demo and scripts/test, from any folder: finds a Python, makes the clone's .venv
# with the named extras in it, and leaves the shell in the clone with .venv/bin first on PATH.

root=$(CDPATH="" cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
cd -- "$root" || exit

# programs look below HOME; an empty one would make that the root folder
if [[ -z ${HOME-} ]]; then HOME=$(getent passwd "$(id -u)" | cut -d: -f6); fi
export HOME
unset PYTHONHOME PYTHONPATH

find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$name"
            return
        fi
    done
    printf 'Python 3.11 or newer is needed; python3 is %s\n' "$(python3 --version 2>&1 || true)" >&2
    return 69
}

# shellcheck disable=SC2120  # the arguments are the extras, and there may be none
prepare() {
    local python
    python=$(find_python)
    "$python" -m tests.lab venv "$@"
    PATH=$root/.venv/bin:$PATH
}

lab() { "$root/.venv/bin/python" -m tests.lab "$@"; }
