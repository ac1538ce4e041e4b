"""Compression as Chromium has it: it offers permessage-deflate and compresses what it sends."""

import pytest

from tests.browser.chromium import Page
from tests.browser.conftest import Server
from tests.browser.test_browser import LETTERS, NORMAL, TEXTS

pytestmark = pytest.mark.acceptance

GRANTED = {
    "compressed": {"server_no_context_takeover", "client_max_window_bits=12"},
    "remembering": {"client_max_window_bits=12"},
    "forgetting": {
        "server_no_context_takeover",
        "client_no_context_takeover",
        "client_max_window_bits=12",
    },
    "narrow": {
        "server_no_context_takeover",
        "server_max_window_bits=9",
        "client_max_window_bits=9",
    },
}


@pytest.fixture(params=GRANTED)
def endpoint(request: pytest.FixtureRequest) -> str:
    """Each of the endpoints that compress."""
    name: str = request.param
    return name


def test_the_page_sees_the_parameters_that_were_agreed_on(
    page: Page, server: Server, endpoint: str
) -> None:
    told = page.call("echoText", server.url("/echo", endpoint), [])
    name, *parameters = told["extensions"].split("; ")
    assert name == "permessage-deflate"
    assert set(parameters) == GRANTED[endpoint]


def test_texts_come_back_from_an_endpoint_that_compresses(
    page: Page, server: Server, endpoint: str
) -> None:
    texts = [*TEXTS, LETTERS * 5000, *(f'{{"number": {number}}}' for number in range(100))]
    told = page.call("echoText", server.url("/echo", endpoint), texts)
    assert told["heard"] == texts
    assert told["ending"] == NORMAL


@pytest.mark.parametrize("size", [0, 1, 65_536, 1_000_003])
def test_binaries_come_back_from_an_endpoint_that_compresses(
    page: Page, server: Server, endpoint: str, size: int
) -> None:
    told = page.call("echoBinary", server.url("/echo", endpoint), size, False)
    assert told == {"kind": "ArrayBuffer", "size": size, "same": True, "ending": NORMAL}


def test_sixteen_mebibytes_go_there_and_back_compressed(page: Page, server: Server) -> None:
    told = page.call("echoBinary", server.url("/echo", "compressed"), 16 << 20, False)
    assert told == {"kind": "ArrayBuffer", "size": 16 << 20, "same": True, "ending": NORMAL}


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_a_compressed_message_in_fragments_arrives_whole(
    page: Page, server: Server, endpoint: str, kind: str
) -> None:
    told = page.call("ask", server.url("/parts", endpoint), kind)
    assert told == {"isText": kind == "text", "text": LETTERS * 100, "ending": NORMAL}


def test_many_compressed_messages_come_back_in_their_order(
    page: Page, server: Server, endpoint: str
) -> None:
    told = page.call("stream", server.url("/echo", endpoint), 2000)
    assert told["right"]
    assert told["extensions"].startswith("permessage-deflate")
    assert told["ending"] == NORMAL
