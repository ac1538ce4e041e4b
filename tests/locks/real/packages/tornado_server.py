"""Tornado: a server that runs blocking code in an executor, and its own clients."""

import asyncio
import threading

from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

lock = threading.Lock()


def blocking(number):
    with lock:
        return number + 1


class Handler(RequestHandler):
    async def get(self, number):
        self.write(str(await IOLoop.current().run_in_executor(None, blocking, int(number))))


async def main():
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(Application([(r"/(\d+)", Handler)]))
    server.add_sockets(sockets)
    port = sockets[0].getsockname()[1]
    client = AsyncHTTPClient()
    answers = await asyncio.gather(
        *(client.fetch(f"http://127.0.0.1:{port}/{number}") for number in range(100))
    )
    print(sum(int(answer.body) for answer in answers))
    server.stop()


asyncio.run(main())
