#!/usr/bin/env bash
# Write tools/constraints.txt again from the newest releases of all dependency groups.
#
#   renew_constraints.sh PYTHON
set -euo pipefail

venv=.cache/constraints-venv
head=$(sed -n '/^#/p' tools/constraints.txt)
rm -rf "$venv"
"$1" -m venv "$venv"
pip=("$venv/bin/python" -m pip --disable-pip-version-check)
"${pip[@]}" install --quiet --upgrade pip
echo "==> Resolving the newest releases of all dependency groups"
"${pip[@]}" install --quiet --group build --group check --group docs
{
    echo "$head"
    "${pip[@]}" freeze --all | grep -v '^setuptools=='
} >tools/constraints.txt
git diff --stat tools/constraints.txt
