#!/bin/sh
# The release checklist: runs every step, says which passed, and exits 1 if any did not.
#
#   scripts/release-check.sh             all steps; about half an hour with the whole fault suite
#   scripts/release-check.sh STEP...     only these
#   scripts/release-check.sh --list      the steps

set -u

ROOT=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
cd "$ROOT" || exit 1
STEPS="clean version lock changelog lint test faults wheel"

version() {
    sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml | head -n 1
}

# Nothing that is not committed would be released.
check_clean() {
    [ -z "$(git status --porcelain)" ] || { git status --short; return 1; }
}

# A semantic version that has no tag yet.
check_version() {
    printf '%s\n' "$(version)" | grep -Eq '^[0-9]+\.[0-9]+\.[0-9]+((a|b|rc)[0-9]+)?$' || {
        echo "pyproject.toml: $(version) is no semantic version"
        return 1
    }
    if git rev-parse -q --verify "refs/tags/v$(version)" >/dev/null 2>&1; then
        echo "v$(version) is released already: raise the version in pyproject.toml, deploy/ and CHANGELOG.md"
        return 1
    fi
}

# The lock file answers pyproject.toml.
check_lock() {
    "$(scripts/ensure-uv.sh)" lock --check
}

# The changes of this version are written down, with the day of the release.
check_changelog() {
    first=$(sed -n 's/^## //p' CHANGELOG.md | head -n 1)
    case $first in
        "$(version) ("[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]")") ;;
        *)
            echo "CHANGELOG.md begins with \"$first\": write \"$(version) ($(date -u +%F))\""
            return 1
            ;;
    esac
}

check_lint() {
    make -s lint
}

check_test() {
    make -s test
}

check_faults() {
    make -s faults
}

# The wheel works in an empty environment: the command starts, and a database is created and migrated.
check_wheel() {
    folder=$(mktemp -d) || return 1
    uv=$(scripts/ensure-uv.sh) || return 1
    make -s setup || return 1
    "$uv" build --quiet --wheel --out-dir "$folder" &&
        "$uv" venv --quiet --python .venv/bin/python "$folder/empty" &&
        "$uv" pip install --quiet --python "$folder/empty/bin/python" "$folder"/*.whl &&
        "$folder/empty/bin/financehub" --version &&
        (cd "$folder" && FINANCEHUB_HOME="$folder/home" "$folder/empty/bin/financehub" db upgrade)
    result=$?
    rm -rf "$folder"
    return $result
}

if [ "${1:-}" = --list ]; then
    printf '%s\n' $STEPS
    exit 0
fi
[ $# -gt 0 ] || set -- $STEPS
failed=""
for step in "$@"; do
    case " $STEPS " in
        *" $step "*) ;;
        *) echo "release-check: no step $step: $STEPS" >&2; exit 2 ;;
    esac
    if "check_$step"; then
        echo "passed: $step"
    else
        echo "FAILED: $step"
        failed="$failed $step"
    fi
done
[ -z "$failed" ] || { echo "not ready:$failed"; exit 1; }
echo "ready: git tag v$(version)"
