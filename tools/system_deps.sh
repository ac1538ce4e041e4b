#!/usr/bin/env bash
# Install the Debian packages named in tools/system-packages.txt; does nothing when all are there.
set -euo pipefail

mapfile -t wanted < <(sed -e '/^#/d' -e '/^[[:space:]]*$/d' "$(dirname "$0")/system-packages.txt" |
    cut -d' ' -f1)
if ! command -v apt-get >/dev/null; then
    echo "make: this is not a Debian system; install by your own means: ${wanted[*]}." >&2
    exit 1
fi
missing=()
for package in "${wanted[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    echo "==> All system packages are installed: ${wanted[*]}"
    exit 0
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "make: become root, or install sudo; wanted: apt-get install ${missing[*]}." >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "==> Installing system packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null
