"""A WebSocket server that awaits an HTTP service and a blocking function before it answers.

Handlers run in a real asyncio loop, so you can use any asyncio library in them. Here, httpx queries
a directory of wasps over HTTP. (This process also serves the directory, so the example needs no
other server.) `asyncio.to_thread` runs a computation that would block the loop. While one client
waits, the server answers other clients.

Run:   .venv/bin/python examples/async_queries.py [WS_URL [HTTP_URL]]
       (default ws://127.0.0.1:9001 and http://127.0.0.1:8081)
       QUERY_SECONDS in the environment is how long an answer may take; default: 5
Talk:  .venv/bin/python -m websockets ws://127.0.0.1:9001
       and type  species hornet  |  digest some words
"""

import asyncio
import hashlib
import json
import logging
import os
import sys
from urllib.parse import quote

import httpx

import vespiary

SECONDS = float(os.environ.get("QUERY_SECONDS", "5"))
SPECIES = {
    "hornet": {"name": "Vespa crabro", "millimetres": 35},
    "paper wasp": {"name": "Polistes dominula", "millimetres": 16},
    "yellowjacket": {"name": "Vespula vulgaris", "millimetres": 18},
}


class Directory(vespiary.Handler):
    """The HTTP service: GET /species/NAME returns JSON."""

    async def on_request(self, request: vespiary.Request) -> vespiary.Response:
        """Answer after a delay, like a service with a database."""
        await asyncio.sleep(0.02)
        found = SPECIES.get(request.path.removeprefix("/species/"))
        if found is None:
            return request.respond(404, "no such species\n")
        headers = [("Content-Type", "application/json")]
        return request.respond(200, json.dumps(found), headers)


class Queries:
    """The WebSocket server. All connections share its HTTP client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.directory_url = ""
        self._client = client

    async def __call__(self, connection: vespiary.Connection) -> None:
        """Answer the questions of one connection."""
        async for question in connection:
            connection.send(await self.answer(str(question)))
            await connection.drain()

    async def answer(self, question: str) -> str:
        """Answer one question. Errors of the service are part of the answer."""
        verb, _, rest = question.partition(" ")
        try:
            async with asyncio.timeout(SECONDS):
                match verb:
                    case "species":
                        response = await self._client.get(
                            f"{self.directory_url}species/{quote(rest)}"
                        )
                        return response.raise_for_status().text
                    case "digest":
                        return await asyncio.to_thread(digest, rest)
                    case _:
                        return "ask: species NAME, or digest WORDS"
        except httpx.HTTPStatusError as error:
            return f"the directory says {error.response.status_code}"
        except (httpx.HTTPError, TimeoutError) as error:
            return f"the directory does not answer: {type(error).__name__}"


def digest(words: str) -> str:
    """Compute for some milliseconds, without the GIL."""
    return hashlib.pbkdf2_hmac("sha256", words.encode(), b"salt", 50_000).hex()


async def main() -> None:
    """Serve both, until SIGTERM or SIGINT."""
    urls = [*sys.argv[1:], *["ws://127.0.0.1:9001", "http://127.0.0.1:8081"][len(sys.argv) - 1 :]]
    async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as client:
        queries = Queries(client)
        server = vespiary.Server()
        server.add(queries, urls[0])
        server.add(Directory, urls[1])
        async with server:
            # With port 0 its address is known only now.
            queries.directory_url = server.urls[1]
            await server.wait_stopped()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    vespiary.run(main())
