#!/usr/bin/env bash
# Say in one sentence what is missing for a build, and fail; say nothing when all is there.
#
#   need.sh PYTHON    PYTHON is an interpreter, or empty when none was found
set -uo pipefail

missing() {
    echo "make: $1" >&2
    exit 1
}

rust_advice="install Rust 1.88 or newer (https://rustup.rs, or your distribution's packages)"
python_advice="install one (Debian: apt-get install python3 python3-venv)"
choose="make PYTHON=/path/to/python3"

[ "$(uname -s)" = Linux ] || missing "Vespiary needs Linux; this is $(uname -s)."
cargo --version >/dev/null 2>&1 || missing "cargo is missing: $rust_advice."
rust=$(rustc --version 2>/dev/null | cut -d' ' -f2)
minor=$(cut -d. -f2 <<<"$rust")
[ "${minor:-0}" -ge 88 ] || missing "rustc ${rust:-is missing or} is too old: $rust_advice."
command -v cc >/dev/null || missing \
    "a C compiler (cc), which linking needs, is missing: install gcc (Debian: build-essential)."
[ -n "${1:-}" ] || missing \
    "CPython 3.11 to 3.14 is missing: $python_advice, or name it: $choose."
"$1" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || missing \
    "$1 is not a CPython 3.11 or newer that runs: name another with $choose."
"$1" -I -c 'import ensurepip, venv' 2>/dev/null || missing \
    "$1 cannot make virtual environments: install its venv module (Debian: python3-venv)."
