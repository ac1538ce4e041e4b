#!/bin/sh
# Make certificates for localhost and for a client ann in a folder, say so, and wait for the end:
#   certificates.sh FOLDER PYTHON
set -eu
for name in "" ann; do
    "$2" -m vespiary cert $name --folder "$1"
done
mkdir -p "$1/clients"
cp "$1/ann.pem" "$1/clients"
echo "the certificates are there"
exec sleep infinity
