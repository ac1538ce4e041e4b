"""A WebSocket server and an aiohttp application in one event loop.

The aiohttp application serves the pages and the API, and Vespiary serves the WebSockets. Both run
in one loop, so a request can publish to every connection: POST /news sends its text to all of them.

Run:   .venv/bin/python examples/beside_aiohttp.py [WS_URL [HTTP_PORT]]
       (default ws://127.0.0.1:9001 and port 8080)
Talk:  .venv/bin/python -m websockets ws://127.0.0.1:9001
       curl -d "the hive has moved" http://127.0.0.1:8080/news
"""

import sys
from collections.abc import AsyncIterator

from aiohttp import web

import vespiary


class News(vespiary.Handler[str]):
    """Sends the news to every connection."""

    def on_open(self, connection: vespiary.Connection[str]) -> None:
        """Subscribe every connection."""
        connection.subscribe("news")


SERVER = web.AppKey("server", vespiary.Server)


async def publish(request: web.Request) -> web.Response:
    """POST /news: publish the body to every connection."""
    count = request.app[SERVER].publish("news", await request.text())
    return web.json_response({"receivers": count})


def application(url: str) -> web.Application:
    """The aiohttp application; the server starts and stops with it."""
    app = web.Application()
    app[SERVER] = vespiary.Server(signals=False)  # aiohttp has them.
    app[SERVER].add(News(), url)
    app.router.add_post("/news", publish)

    async def serve(app: web.Application) -> AsyncIterator[None]:
        async with app[SERVER]:
            print("Serving", *app[SERVER].urls, flush=True)
            yield

    app.cleanup_ctx.append(serve)
    return app


if __name__ == "__main__":
    url, port = [*sys.argv[1:], *["ws://127.0.0.1:9001", "8080"][len(sys.argv) - 1 :]]
    # aiohttp chooses the loop; with loop=vespiary.loop.new_event_loop() it would be ours.
    web.run_app(application(url), host="127.0.0.1", port=int(port))
