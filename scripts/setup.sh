#!/usr/bin/env bash
# Makes .venv with the pinned packages of requirements.lock and this checkout in it. Does nothing when that is already so.
# PYTHON=... names the interpreter; otherwise the first of python3, python3.13, ... that is 3.11 to 3.14 and can make a venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wanted=$(cat requirements.lock pyproject.toml | cksum | tr ' ' '-')
marker=.venv/.steward-$wanted
if [ -f "$marker" ] && .venv/bin/python -c 'import sys' 2>/dev/null; then
    exit 0
fi

usable() { # is this interpreter 3.11 to 3.14, with venv and ensurepip?
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1
}

python=
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
    if usable "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "setup: Steward needs Python 3.11 to 3.14 with the venv module, and found none" \
        "(tried ${PYTHON:-python3, python3.11 to python3.14}). On Debian: apt-get install python3-venv," \
        "or name one: make PYTHON=/path/to/python3.12 ..." >&2
    exit 1
fi

if ! .venv/bin/python -c 'import sys, pip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
    echo "setup: making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi
echo "setup: installing the pinned packages into .venv (a minute or two the first time)"
export PIP_DISABLE_PIP_VERSION_CHECK=1
.venv/bin/pip install --quiet --requirement requirements.lock --editable .
rm -f .venv/.steward-*
touch "$marker"
