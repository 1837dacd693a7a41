#!/bin/sh
# Print the path of a uv new enough for this project's lock file; fetch one into .uv/ of the clone where there is none.
#
# Nothing outside the clone is changed. Any Python 3.8 or newer can fetch uv, by its pip or by its venv, whichever the
# distribution left in place (Debian ships python3 without either).

set -u

ROOT=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
OLDEST="0.8.0"
WANTED="uv>=0.9,<1"

say() {
    printf 'setup: %s\n' "$*" >&2
}

# new_enough UV: true if that command runs and is not older than OLDEST.
new_enough() {
    version=$("$1" --version 2>/dev/null | awk '{ print $2 }') || return 1
    awk -v have="$version" -v need="$OLDEST" 'BEGIN {
        split(have, h, "[.+-]"); split(need, n, ".")
        for (i = 1; i <= 3; i++) if (h[i] + 0 != n[i] + 0) exit !(h[i] + 0 > n[i] + 0)
        exit !(have != "")
    }'
}

present() {
    for uv in "$(command -v uv 2>/dev/null)" "${HOME:-}/.local/bin/uv" "${HOME:-}/.cargo/bin/uv" "$ROOT/.uv/bin/uv"; do
        if [ -x "$uv" ] && new_enough "$uv"; then
            printf '%s\n' "$uv"
            return 0
        fi
    done
    return 1
}

# fetch_with PYTHON FOLDER: install uv so that FOLDER/bin/uv runs.
fetch_with() {
    PIP_DISABLE_PIP_VERSION_CHECK=1
    PIP_ROOT_USER_ACTION=ignore
    PIP_USER=0
    export PIP_DISABLE_PIP_VERSION_CHECK PIP_ROOT_USER_ACTION PIP_USER
    if "$1" -m pip --version >/dev/null 2>&1; then
        "$1" -m pip install -qq --target "$2" "$WANTED" >&2 && return 0
        return 1
    fi
    if "$1" -m venv "$2" >/dev/null 2>&1 || "$1" -m virtualenv --quiet "$2" >/dev/null 2>&1; then
        "$2/bin/python" -m pip install -qq "$WANTED" >&2 && return 0
    fi
    return 1
}

fetch() {
    folder="$ROOT/.uv.new.$$"
    tried=""
    for python in "${1:-}" "$(command -v python3 2>/dev/null)" /usr/bin/python3 "$(command -v python 2>/dev/null)"; do
        if [ -z "$python" ] || [ "$python" = "$tried" ] \
            || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null; then
            continue
        fi
        tried=$python
        say "fetching uv into .uv/ with $python"
        if fetch_with "$python" "$folder" && new_enough "$folder/bin/uv"; then
            rm -rf "$ROOT/.uv/bin" && mkdir -p "$ROOT/.uv/bin" && mv "$folder/bin/uv" "$ROOT/.uv/bin/uv"
            rm -rf "$folder"
            printf '%s\n' "$ROOT/.uv/bin/uv"
            return 0
        fi
        rm -rf "$folder"
    done
    if [ -z "$tried" ]; then
        say "no uv and no Python 3.8+ to fetch it with: install uv (https://docs.astral.sh/uv) and run make again."
    else
        say "uv could not be fetched: install it (https://docs.astral.sh/uv), or python3-pip or python3-venv, or check" \
            "the network, and run make again."
    fi
    return 1
}

present || fetch "${1:-}"
