"""The example that asks others before it answers."""

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.sync.client import connect

from .conftest import Start

pytestmark = pytest.mark.acceptance


def ask(url: str, *questions: str) -> list[str]:
    with connect(url) as client:
        for question in questions:
            client.send(question)
        return [str(client.recv(timeout=20)) for _ in questions]


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


def test_questions_of_many_clients_are_under_way_together(start: Start) -> None:
    example = start("async_queries.py", "ws://127.0.0.1:0/", "http://127.0.0.1:0/")
    began = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: ask(example.urls[0], "species hornet"), range(100)))
    # One after the other they would take two seconds for the directory alone.
    assert time.monotonic() - began < 1.9
    assert {json.loads(answer)["millimetres"] for (answer,) in answers} == {35}
    example.stop()


def test_the_directory_answers_any_http_client(start: Start) -> None:
    example = start("async_queries.py", "ws://127.0.0.1:0/", "http://127.0.0.1:0/")
    with httpx.Client(base_url=example.urls[1], trust_env=False) as client:
        response = client.get("/species/yellowjacket")
        assert response.headers["content-type"] == "application/json"
        assert response.json() == {"name": "Vespula vulgaris", "millimetres": 18}
        assert client.get("/species/bee").status_code == 404
    example.stop()
