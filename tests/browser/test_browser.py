"""What a browser says of our server: Chromium, with its own WebSocket, on a page of ours."""

import pytest

from tests.browser.chromium import Chromium, Page
from tests.browser.conftest import Server

pytestmark = pytest.mark.acceptance

LETTERS = "Wespe Käfer 蜂 🐝 "
NORMAL = {"code": 1000, "reason": "", "clean": True}
ABNORMAL = {"code": 1006, "reason": "", "clean": False}
LONGEST_REASON = "ü" * 61 + "x"
"""123 bytes: a close frame has room for no more (RFC 6455 section 5.5)."""
TEXTS = ["", "wasp", "Wespe Käfer 蜂 🐝", "\0", "x" * 125, "x" * 126, "ü" * 40_000]


def test_text_comes_back_as_it_was_sent(page: Page, server: Server) -> None:
    told = page.call("echoText", server.url("/echo"), TEXTS)
    assert told == {"heard": TEXTS, "extensions": "", "ending": NORMAL}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 1_000_003])
@pytest.mark.parametrize("kind", ["ArrayBuffer", "Blob"])
def test_binary_comes_back_as_it_was_sent(page: Page, server: Server, size: int, kind: str) -> None:
    told = page.call("echoBinary", server.url("/echo"), size, kind == "Blob")
    assert told == {"kind": kind, "size": size, "same": True, "ending": NORMAL}


def test_sixteen_mebibytes_go_there_and_back(page: Page, server: Server) -> None:
    told = page.call("echoBinary", server.url("/echo"), 16 << 20, False)
    assert told == {"kind": "ArrayBuffer", "size": 16 << 20, "same": True, "ending": NORMAL}


def test_a_long_text_goes_there_and_back(page: Page, server: Server) -> None:
    told = page.call("echoLongText", server.url("/echo"), 100_000)
    assert told == {"same": True, "size": 1_700_000, "ending": NORMAL}


def test_a_message_above_the_limit_is_closed_with_1009(page: Page, server: Server) -> None:
    told = page.call("sendTooMuch", server.url("/echo"), (16 << 20) + 1)
    assert told["code"] == 1009
    assert told["clean"]


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_a_message_in_fragments_arrives_whole(page: Page, server: Server, kind: str) -> None:
    told = page.call("ask", server.url("/parts"), kind)
    assert told == {
        "isText": kind == "text",
        "text": LETTERS * 100,
        "ending": NORMAL,
    }


def test_many_messages_come_back_in_their_order(page: Page, server: Server) -> None:
    told = page.call("stream", server.url("/echo"), 5000)
    assert told == {"right": True, "extensions": "", "ending": NORMAL}


def test_many_connections_are_open_at_once(page: Page, server: Server) -> None:
    # Chromium itself lets a page wait 5 seconds that opens more than a dozen at once.
    assert page.call("many", server.url("/echo"), 100) == {"right": 100, "clean": 100}


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [([], ""), (["bee.v1"], "bee.v1"), (["wasp.v9", "bee.v1", "bee.v2"], "bee.v2")],
)
def test_the_subprotocol_is_the_one_that_the_server_chose(
    page: Page, server: Server, offered: list[str], chosen: str
) -> None:
    told = page.call("speak", server.url("/speak"), offered)
    assert told == {"protocol": chosen, "ending": NORMAL}


def test_a_page_whose_subprotocols_all_are_refused_does_not_open(
    page: Page, server: Server
) -> None:
    told = page.call("refused", server.url("/speak"), ["wasp.v9"])
    assert told == {**ABNORMAL, "isOpen": False, "failed": True}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1000, ""),
        (1000, "done"),
        (1001, "gone"),
        (1008, "rules"),
        (1011, ""),
        (3000, "Käfer 蜂 🐝"),
        (4999, LONGEST_REASON),
    ],
)
def test_the_page_sees_the_servers_close_code_and_reason(
    page: Page, server: Server, code: int, reason: str
) -> None:
    told = page.call("closeByServer", server.url("/close"), code, reason)
    assert told == {"code": code, "reason": reason, "clean": True}


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (3000, "Käfer 蜂 🐝"), (4999, LONGEST_REASON)]
)
def test_the_server_sees_the_pages_close_code_and_reason(
    page: Page, server: Server, code: int, reason: str
) -> None:
    told = page.call("closeByPage", server.url("/told"), code, reason)
    # The answer has the code again (RFC 6455 section 5.5.1), and no words.
    assert told == {"code": code, "reason": "", "clean": True}
    server.wait_for_ending(path="/told", code=code, reason=reason)


def test_a_close_without_a_code_is_1005_to_the_page(page: Page, server: Server) -> None:
    told = page.call("closeByPage", server.url("/told"))
    assert told == {"code": 1005, "reason": "", "clean": True}


@pytest.mark.parametrize(
    ("close", "error"),
    [
        ([1001], "InvalidAccessError"),
        ([999], "InvalidAccessError"),
        ([2999], "InvalidAccessError"),
        ([5000], "InvalidAccessError"),
        ([3000, "x" * 124], "SyntaxError"),
    ],
)
def test_an_invalid_close_throws_in_the_page_and_the_server_sees_none_of_it(
    page: Page, server: Server, close: list[object], error: str
) -> None:
    assert page.call("closeThrows", server.url("/thrown"), *close) == error
    server.wait_for_ending(path="/thrown", code=1000, reason="")


def test_a_server_that_stops_closes_with_1001(chromium: Chromium) -> None:
    with Server() as server, chromium.open(server.page) as page:
        page.call("stay", server.url("/echo"))
        server.stop()
        told = page.call("gone")
        assert told == {"code": 1001, "reason": "the server is going away", "clean": True}


def test_a_server_that_is_killed_leaves_1006(chromium: Chromium) -> None:
    with Server() as server, chromium.open(server.page) as page:
        page.call("stay", server.url("/echo"))
        server.kill()
        assert page.call("gone") == ABNORMAL


def test_a_page_of_a_foreign_origin_is_refused(page: Page, server: Server) -> None:
    told = page.call("refused", server.url("/echo", "guarded"))
    assert told == {**ABNORMAL, "isOpen": False, "failed": True}


def test_a_page_of_an_allowed_origin_is_served(page: Page, server: Server) -> None:
    told = page.call("echoText", server.url("/echo", "open"), ["wasp"])
    assert told["heard"] == ["wasp"]


@pytest.mark.parametrize("path", ["/redirect", "/refuse"])
def test_a_browser_takes_no_answer_but_an_upgrade(page: Page, server: Server, path: str) -> None:
    before = len(server.opened())
    told = page.call("refused", server.url(path))
    assert told == {**ABNORMAL, "isOpen": False, "failed": True}
    # It follows no redirect either.
    assert len(server.opened()) == before


def test_what_a_page_sends_waits_in_it_until_the_server_reads(page: Page, server: Server) -> None:
    told = page.call("buffer", server.url("/slow"), 8 << 20)
    assert told == {"filled": 8 << 20, "falls": True, "empty": 0, "answer": str(8 << 20)}
