#!/bin/sh
# Runs the quick half of the tests (tests/quick.txt) in every Python that is installed: pythons.sh [PYTEST ARGUMENTS]
# uv brings those that are missing, where it is installed and can be reached.
set -u
cd "$(dirname "$0")/.."

works() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null
}

# Prints the program, or fails.
find_python() {
    # A stub of pyenv is there for every version, and runs only one that is chosen.
    for python in "python$1" "${HOME:-/}"/.pyenv/versions/"$1".*/bin/python; do
        works "$python" && echo "$python" && return 0
    done
    command -v uv >/dev/null || return 1
    uv python install --quiet "$1" >/dev/null 2>&1
    python=$(uv python find --no-project "$1" 2>/dev/null) && works "$python" && echo "$python"
}

set_up() {
    venv=".venv-$1"
    if [ "$venv/.installed" -nt requirements/test.lock ]; then return 0; fi
    rm -rf "$venv"
    "$2" -m venv "$venv" &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements/test.lock &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -e . &&
        touch "$venv/.installed"
}

failed=""
for version in ${PYTHONS:-3.11 3.12 3.13 3.14}; do
    if ! python=$(find_python "$version"); then
        echo "== Python $version: not installed, left out"
        continue
    fi
    echo "== Python $version: $python"
    if ! set_up "$version" "$python"; then
        # No wheels of what the lock pins: nobody can install edgeseg there yet.
        echo "== Python $version: the lock cannot be installed"
        failed="$failed $version"
        continue
    fi
    ".venv-$version/bin/python" -m pytest "$@" @tests/quick.txt || failed="$failed $version"
done
[ -z "$failed" ] || { echo "pythons.sh: failed in Python$failed" >&2; exit 1; }
