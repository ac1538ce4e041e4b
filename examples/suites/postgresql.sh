#!/bin/sh
# PostgreSQL with a new database in a folder, on a Unix socket there: postgresql.sh FOLDER
set -eu
PATH=$PATH:$(echo /usr/lib/postgresql/*/bin | tr ' ' ':')
cd "$1"
as_user=
if [ "$(id -u)" = 0 ]; then # PostgreSQL refuses to run as root.
    chown postgres .
    chmod 711 ..
    as_user="setpriv --reuid=postgres --regid=postgres --clear-groups"
fi
$as_user initdb -D data -U postgres -A trust --no-sync >initdb.log
exec $as_user postgres -D data -k "$1" -c listen_addresses= -F
