#!/bin/sh
# Bring .venv in line with uv.lock: quick when nothing changed, safe to repeat, and nothing outside the clone is needed
# but a network (a second clone of the same user finds every package in uv's cache).
#
#   PYTHON  the interpreter to build .venv on; without it a sound .venv keeps its own, and a new one gets find-python's

set -u

ROOT=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
VENV="$ROOT/.venv"

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# A service account may have no home, or one it cannot write to; uv then keeps its files in the clone.
keep_uv_files_where_they_can_be_written() {
    if [ -n "${HOME:-}" ] && [ -d "$HOME" ] && [ -w "$HOME" ]; then
        return
    fi
    UV_CACHE_DIR=${UV_CACHE_DIR:-$ROOT/.uv/cache}
    UV_PYTHON_INSTALL_DIR=${UV_PYTHON_INSTALL_DIR:-$ROOT/.uv/python}
    PIP_CACHE_DIR=${PIP_CACHE_DIR:-$ROOT/.uv/pip}
    HOME="$ROOT/.uv/home"
    mkdir -p "$HOME"
    export UV_CACHE_DIR UV_PYTHON_INSTALL_DIR PIP_CACHE_DIR HOME
}

# Behind a company's TLS proxy only the system's certificate store knows the issuer; uv brings its own store.
trust_the_systems_certificates() {
    for store in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
        if [ -r "$store" ]; then
            UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1}
            export UV_SYSTEM_CERTS
            return
        fi
    done
}

# Sound: made for this very folder (a moved clone has dead scripts), on a supported Python that still runs.
venv_is_sound() {
    [ -x "$VENV/bin/financehub" ] && head -n 3 "$VENV/bin/financehub" | grep -qF "$VENV/bin/python" \
        && PYTHON="$VENV/bin/python" "$ROOT/scripts/find-python.sh" >/dev/null 2>&1
}

# `dagster asset` and `dagster job execute` read neither pyproject.toml nor workspace.yaml, only options and variables:
# name the code location for these commands alone (DAGSTER_MODULE_NAME would clash with every `-w workspace.yaml`).
let_dagster_find_the_definitions() {
    for folder in "$VENV"/lib/python3.*/site-packages; do
        [ -d "$folder" ] || continue
        {
            printf 'import os'
            for command in ASSET_MATERIALIZE ASSET_LIST JOB_EXECUTE; do
                printf '; os.environ.setdefault("DAGSTER_CLI_%s_MODULE_NAME", "financehub_dagster.definitions")' "$command"
            done
            echo
        } >"$folder/financehub_dagster_cli.pth"
    done
}

main() {
    [ -w "$ROOT" ] || fail "$ROOT is not writable by $(id -un): clone the repository into a folder of your own."
    if [ -e "$VENV" ] && [ ! -w "$VENV" ]; then
        fail "$VENV belongs to another user: clone the repository into a folder of your own."
    fi
    keep_uv_files_where_they_can_be_written
    trust_the_systems_certificates
    unset VIRTUAL_ENV
    UV_PROJECT_ENVIRONMENT="$VENV"
    export UV_PROJECT_ENVIRONMENT

    python=""
    if [ -n "${PYTHON:-}" ] || ! venv_is_sound; then
        python=$("$ROOT/scripts/find-python.sh")
        [ $? -ne 2 ] || exit 1
    fi
    uv=$("$ROOT/scripts/ensure-uv.sh" "$python") || exit 1

    if [ -z "$python" ] && venv_is_sound; then
        set -- --quiet
    elif [ -n "${PYTHON:-}" ]; then
        set -- --python "$python"
    else
        rm -rf "$VENV"
        set -- --python "${python:-3.12}"
    fi
    if "$uv" sync --project "$ROOT" --frozen "$@" >&2; then
        let_dagster_find_the_definitions
        return 0
    fi
    if [ -z "$python" ] && [ ! -x "$VENV/bin/python" ]; then
        fail "no Python 3.12 or 3.13 found and none could be downloaded: install one (the distribution's python3.12 or" \
            "python3.13, brew install python@3.12, pyenv install 3.12) or name one that $(id -un) can run:" \
            "make setup PYTHON=/path/to/python3.12"
    fi
    fail "the locked packages could not be installed (see above): check the network and the free disk space, and that" \
        "this is Linux with glibc 2.28 or newer or macOS, then run make again."
}

main
