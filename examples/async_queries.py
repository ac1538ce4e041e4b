"""A WebSocket server that asks others before it answers: an HTTP service, and a blocking function.

Handlers run inside a real asyncio loop, so every asyncio library works in them: here httpx asks a
directory of wasps over HTTP (served by this very process, so that the example needs nothing else),
and `asyncio.to_thread` runs a computation that would block the loop. While one client's question is
under way, the others' are answered.

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
    """The HTTP service that is asked: GET /species/NAME answers in JSON."""

    async def on_request(self, request: vespiary.Request) -> vespiary.Response:
        """Answer late, as a service with a database behind it would."""
        await asyncio.sleep(0.02)
        found = SPECIES.get(request.path.removeprefix("/species/"))
        if found is None:
            return request.respond(404, "no such species\n")
        headers = [("Content-Type", "application/json")]
        return request.respond(200, json.dumps(found), headers)


class Queries:
    """The server. Its client of the directory is shared by all connections."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.directory_url = ""
        self._client = client

    async def __call__(self, connection: vespiary.Connection) -> None:
        """One connection: question after question."""
        async for question in connection:
            connection.send(await self.answer(str(question)))
            await connection.drain()

    async def answer(self, question: str) -> str:
        """One answer. What goes wrong elsewhere is reported, and ends nothing here."""
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
    """A computation of some milliseconds, which releases the interpreter's lock."""
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
