#!/bin/sh
# Make certificates for localhost and for a client ann in a folder, then run a command in our place:
#   with_certificates.sh FOLDER PYTHON ARGUMENT...
set -eu
folder=$1
python=$2
"$python" -m vespiary cert --folder "$folder" > /dev/null
"$python" -m vespiary cert ann --folder "$folder" > /dev/null
mkdir -p "$folder/clients"
cp "$folder/ann.pem" "$folder/clients"
shift
exec "$@"
