"""The example that asks others before it answers."""

import asyncio
import hashlib
import json
import runpy

import httpx
import pytest
from websockets.sync.client import connect

import vespiary

from .conftest import EXAMPLES, Start

pytestmark = pytest.mark.acceptance


def ask(url: str, *questions: str) -> list[str]:
    with connect(url) as client:
        for question in questions:
            client.send(question)
        return [str(client.recv(timeout=60)) for _ in questions]


def test_answers_come_from_http_and_from_a_thread(start: Start) -> None:
    example = start("async_queries.py", "ws://127.0.0.1:0/", "http://127.0.0.1:0/")
    species, missing, digest, other = ask(
        example.urls[0], "species paper wasp", "species bee", "digest a b", "what?"
    )
    assert json.loads(species)["name"] == "Polistes dominula"
    assert missing == "the directory says 404"
    assert digest == hashlib.pbkdf2_hmac("sha256", b"a b", b"salt", 50_000).hex()
    assert other.startswith("ask: ")
    example.stop()


def test_questions_of_many_clients_are_in_progress_together() -> None:
    example = runpy.run_path(str(EXAMPLES / "async_queries.py"))
    together = asyncio.Barrier(20)

    async def directory(request: httpx.Request) -> httpx.Response:
        """Answers nobody before all have asked."""
        await together.wait()
        return httpx.Response(200, text="found")

    async def ask_hornet(url: str) -> object:
        async with vespiary.connect(url) as connection:
            connection.send("species hornet")
            return await connection.receive()

    async def main() -> list[object]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(directory)) as client:
            queries = example["Queries"](client)
            queries.directory_url = "http://directory/"
            server = vespiary.Server()
            server.add(queries, "ws://127.0.0.1:0")
            async with server:
                asked = (ask_hornet(server.urls[0]) for _ in range(together.parties))
                return await asyncio.gather(*asked)

    assert vespiary.run(main()) == ["found"] * 20


def test_the_directory_answers_any_http_client(start: Start) -> None:
    example = start("async_queries.py", "ws://127.0.0.1:0/", "http://127.0.0.1:0/")
    with httpx.Client(base_url=example.urls[1], trust_env=False) as client:
        response = client.get("/species/yellowjacket")
        assert response.headers["content-type"] == "application/json"
        assert response.json() == {"name": "Vespula vulgaris", "millimetres": 18}
        assert client.get("/species/bee").status_code == 404
    example.stop()
