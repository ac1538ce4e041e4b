"""Waitress: its threads serve a WSGI application to several clients."""

import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from waitress.server import create_server

lock = threading.Lock()
count = {"requests": 0}


def application(environ, start_response):
    with lock:
        count["requests"] += 1
    start_response("200 OK", [])
    return [environ["PATH_INFO"].encode()]


server = create_server(application, host="127.0.0.1", port=0, threads=4)
thread = threading.Thread(target=server.run, daemon=True)
thread.start()


def ask(number):
    return len(urllib.request.urlopen(f"http://127.0.0.1:{server.effective_port}/{number}").read())


with ThreadPoolExecutor(6) as pool:
    print(sum(pool.map(ask, range(200))), count)
