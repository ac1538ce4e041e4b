#!/usr/bin/env bash
# Find the CPythons that Vespiary supports.
#
#   find_python.sh default   the path of the one to build with: python3 if it is supported, else the
#                            oldest that is
#   find_python.sh VERSION   the path of CPython VERSION (3.12); fails silently when there is none
#   find_python.sh versions  the supported versions
#
# A name on the PATH is tried by running it: pyenv's shims exist for versions that do not answer.
set -uo pipefail

versions=(3.11 3.12 3.13 3.14)
ask='import sys; ok = sys.implementation.name == "cpython"
print("%d.%d" % sys.version_info[:2] if ok else "other", sys.executable)'

answers_as() { # COMMAND VERSION: print the interpreter's real path if it is that version
    local version path
    read -r version path < <("$1" -I -c "$ask" 2>/dev/null) || return 1
    [ "$version" = "$2" ] && echo "$path"
}

find_version() { # VERSION
    local candidate
    for candidate in "python$1" python3 \
        "${PYENV_ROOT:-${HOME:-/root}/.pyenv}"/versions/"$1".*/bin/python \
        /usr/local/bin/"python$1" /opt/python/*/bin/"python$1"; do
        answers_as "$candidate" "$1" && return 0
    done
    return 1
}

case "${1:-}" in
default)
    for version in "${versions[@]}"; do
        answers_as python3 "$version" && exit 0
    done
    for version in "${versions[@]}"; do
        find_version "$version" && exit 0
    done
    exit 1
    ;;
versions) echo "${versions[@]}" ;;
3.*) find_version "$1" ;;
*)
    echo "usage: find_python.sh default|VERSION|versions" >&2
    exit 2
    ;;
esac
