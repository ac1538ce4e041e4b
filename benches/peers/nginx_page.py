"""nginx with one page over TLS: `nginx_page.py PORT CERTIFICATE KEY`. It becomes nginx."""

import os
import sys
import tempfile
from pathlib import Path

SETTINGS = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    ssl_session_cache shared:sessions:10m;
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{ return 200 "hello\\n"; }}
    }}
}}
"""

folder = Path(tempfile.mkdtemp(prefix="bench-nginx-"))
port, certificate, key = sys.argv[1:]
settings = folder / "nginx.conf"
settings.write_text(SETTINGS.format(folder=folder, port=port, certificate=certificate, key=key))
os.execvp("nginx", ["nginx", "-p", str(folder), "-c", str(settings)])
