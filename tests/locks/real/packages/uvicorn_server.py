"""uvicorn: an ASGI application that also uses threads, asked by several clients."""

import asyncio
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import uvicorn

lock = threading.Lock()
count = {"requests": 0}


def in_a_thread():
    with lock:
        count["requests"] += 1


async def application(scope, receive, send):
    await asyncio.to_thread(in_a_thread)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


config = uvicorn.Config(application, port=0, log_level="error", lifespan="off")
server = uvicorn.Server(config)
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.01)
port = server.servers[0].sockets[0].getsockname()[1]


def ask(number):
    return len(urllib.request.urlopen(f"http://127.0.0.1:{port}/{number}").read())


with ThreadPoolExecutor(6) as pool:
    print(sum(pool.map(ask, range(200))))
print(count)
server.should_exit = True
thread.join()
