#!/bin/sh
# Print the path of an interpreter this project runs on, or exit 1 without a word.
#
# 3.12 is looked for everywhere before 3.13 is: it is the version the lock file is tested on first. A candidate counts
# only after it has run and said what it is, because a pyenv shim of an inactive version exists and yet exits 127.
#
#   PYTHON         use this interpreter (path or command name) and no other; exit 2 if it will not do
#   SYSTEM_PREFIX  put before every absolute place searched; empty on a real machine, a folder in the tests

set -u

PROBE='
import sys, sysconfig
wanted = sys.argv[1].split()
found = "%d.%d" % sys.version_info[:2]
if found not in wanted or sys.implementation.name != "cpython" or sys.maxsize < 2**32:
    sys.exit(1)
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit(1)
print(sys.executable)
'

# probe INTERPRETER VERSIONS: print the real interpreter behind the name if it is one of the versions.
probe() {
    "$1" -I -S -c "$PROBE" "$2" 2>/dev/null </dev/null
}

path_folders() {
    printf '%s\n' "${PATH:-}" | tr ':' '\n'
}

pyenv_roots() {
    printf '%s\n' "${PYENV_ROOT:-}"
    # A shims folder on the PATH belongs to a pyenv even when the `pyenv` command itself cannot run.
    path_folders | sed -n 's|/shims/*$||p'
    [ -z "${HOME:-}" ] || printf '%s\n' "$HOME/.pyenv"
    for root in /opt/pyenv /usr/local/pyenv /root/.pyenv; do
        printf '%s\n' "$SYSTEM_PREFIX$root"
    done
}

# candidates VERSION: every place an interpreter of that version may stand, best first, one a line.
candidates() {
    path_folders | while IFS= read -r folder; do
        printf '%s\n' "$folder/python$1" "$folder/python3" "$folder/python"
    done
    pyenv_roots | while IFS= read -r root; do
        [ -z "$root" ] || printf '%s\n' "$root"/versions/"$1"*/bin/python"$1"
    done
    if [ -n "${HOME:-}" ]; then
        printf '%s\n' \
            "$HOME"/.local/bin/python"$1" \
            "$HOME"/.local/share/uv/python/cpython-"$1".*/bin/python"$1" \
            "$HOME"/.local/share/mise/installs/python/"$1"*/bin/python"$1" \
            "$HOME"/.asdf/installs/python/"$1"*/bin/python"$1" \
            "$HOME"/miniforge3/bin/python"$1" "$HOME"/miniconda3/bin/python"$1" "$HOME"/anaconda3/bin/python"$1"
    fi
    printf '%s\n' \
        "$SYSTEM_PREFIX"/usr/local/bin/python"$1" \
        "$SYSTEM_PREFIX"/usr/bin/python"$1" \
        "$SYSTEM_PREFIX"/opt/homebrew/bin/python"$1" \
        "$SYSTEM_PREFIX"/usr/local/opt/python@"$1"/bin/python"$1" \
        "$SYSTEM_PREFIX"/opt/*/bin/python"$1" \
        "$SYSTEM_PREFIX"/opt/python/*/bin/python"$1"
}

main() {
    SYSTEM_PREFIX=${SYSTEM_PREFIX:-}
    if [ -n "${PYTHON:-}" ]; then
        probe "$PYTHON" "3.12 3.13" && return 0
        echo "PYTHON=$PYTHON is not a 64-bit CPython 3.12 or 3.13: name one that is, or leave PYTHON unset." >&2
        return 2
    fi
    for version in 3.12 3.13; do
        found=$(candidates "$version" | while IFS= read -r candidate; do
            if [ -x "$candidate" ] && [ ! -d "$candidate" ] && probe "$candidate" "$version"; then
                break
            fi
        done)
        if [ -n "$found" ]; then
            printf '%s\n' "$found"
            return 0
        fi
    done
    return 1
}

main
