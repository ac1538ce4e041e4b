#!/usr/bin/env bash
# Make the virtual environment VENV with PYTHON, unless it is there already and of that Python.
#
#   make_venv.sh VENV PYTHON
#
# VENV/stamps/python is renewed only when the environment is: make rebuilds what hangs on it.
set -euo pipefail

venv=$1 python=$2
identity=$("$python" -I -c 'import sys; print(sys.version, sys.executable, sys.argv[1])' \
    "$(realpath -m "$venv")")
stamp="$venv/stamps/python"
if [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$identity" ]; then
    exit 0
fi
echo "==> Making the virtual environment $venv with $("$python" -V) ($python)"
rm -rf "$venv"
"$python" -m venv "$venv"
mkdir -p "$venv/stamps"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint tools/constraints.txt --upgrade pip
echo "$identity" >"$stamp"
