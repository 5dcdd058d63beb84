#!/bin/sh
# make_venv.sh VENV PYTHON REQUIREMENTS...: makes VENV if it is missing or broken, and installs these files into it.
# PYTHON may be empty: then the first interpreter on PATH that is 3.10 or newer is taken. CONSTRAINTS=file goes to pip.
set -eu
venv=$1 python=$2
shift 2

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

find_python() {
    for name in python3 python3.13 python3.12 python3.11 python3.10 python3.14 python; do
        # a version manager's shim may be on PATH and still not run, so the name alone proves nothing
        if command -v "$name" >/dev/null 2>&1 && new_enough "$name"; then
            echo "$name"
            return
        fi
    done
    echo "error: no Python 3.10 or newer on PATH; install one (apt-get install python3 python3-venv) or give PYTHON=/path/to/python3" >&2
    exit 2
}

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    if [ -z "$python" ]; then
        python=$(find_python)
    elif ! new_enough "$python"; then
        echo "error: PYTHON=$python does not run or is older than 3.10" >&2
        exit 2
    fi
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        echo "error: $python has no venv module: apt-get install python$version-venv (or your system's package), then repeat" >&2
        exit 2
    fi
    echo "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi
echo "installing $* into $venv (the first time takes minutes: torch is large)"
for file; do
    shift
    set -- "$@" -r "$file"
done
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check ${CONSTRAINTS:+-c "$CONSTRAINTS"} "$@"
