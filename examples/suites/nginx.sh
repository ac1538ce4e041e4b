#!/bin/sh
# nginx with all its files in a folder: nginx.sh FOLDER PORT
set -eu
mkdir "$1/www" "$1/temporary"
head -c 20000 /dev/zero | tr '\0' x >"$1/www/large.html"
echo "small" >"$1/www/small.html"
cat >"$1/nginx.conf" <<END
daemon off; worker_processes 2; pid $1/pid; error_log $1/error.log;
$([ "$(id -u)" != 0 ] || echo "user root;")
events { worker_connections 256; }
thread_pool default threads=4;
http {
    access_log $1/access.log; aio threads; directio 512;
    client_body_temp_path $1/temporary/body; proxy_temp_path $1/temporary/proxy;
    fastcgi_temp_path $1/temporary/fastcgi; uwsgi_temp_path $1/temporary/uwsgi;
    scgi_temp_path $1/temporary/scgi;
    server {
        listen 127.0.0.1:$2; root $1/www;
        location = /status { stub_status; }
    }
}
END
exec nginx -c "$1/nginx.conf" -e "$1/error.log"
