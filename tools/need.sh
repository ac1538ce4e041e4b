#!/usr/bin/env bash
# Say in one sentence what is missing for a build, and fail; say nothing when all is there.
#
#   need.sh PYTHON    PYTHON is an interpreter, or empty when none was found
set -uo pipefail

missing() {
    echo "make: $1" >&2
    exit 1
}

[ "$(uname -s)" = Linux ] || missing "Vespiary needs Linux; this is $(uname -s)."
command -v cargo >/dev/null && cargo --version >/dev/null 2>&1 || missing \
    "cargo is missing: install Rust 1.88 or newer (https://rustup.rs, or your distribution's cargo)."
release=$(rustc --version 2>/dev/null | sed -n 's/^rustc 1\.\([0-9]*\).*/\1/p')
[ "${release:-0}" -ge 88 ] || missing \
    "rustc $(rustc --version 2>/dev/null | cut -d' ' -f2) is too old: install Rust 1.88 or newer (rustup update)."
command -v cc >/dev/null || missing \
    "a C compiler (cc) is missing, which linking needs: install gcc (Debian: apt-get install build-essential)."
[ -n "${1:-}" ] || missing \
    "CPython 3.11, 3.12 or 3.13 is missing: install one (Debian: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3."
"$1" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || missing \
    "$1 is no CPython 3.11 or newer that runs: name another with make PYTHON=/path/to/python3."
"$1" -I -c 'import ensurepip, venv' 2>/dev/null || missing \
    "$1 has no venv module: install it (Debian: apt-get install python3-venv)."
