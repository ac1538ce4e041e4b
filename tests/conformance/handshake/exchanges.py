"""Cases about what is done with a well-formed head: bodies, connections, methods, expectations."""

from tests.conformance.handshake.case import Case, changed, page, upgrade
from tests.conformance.handshake.heads import bad, opens, shows

__all__ = ["CASES"]

LENGTHS = ("rfc9112/6.3/5",)
CODINGS = ("rfc9112/6.3/3",)
POST = "POST /page HTTP/1.1"


def post(*lines: str, body: str = "") -> bytes:
    """A POST with these lines and body."""
    return page(*lines, first=POST) + body.encode()


BODIES = [
    bad(
        "both lengths",
        post("Content-Length: 4", "Transfer-Encoding: chunked", body="0\r\n\r\n"),
        ("rfc9112/6.1/12",),
        200,
        405,
    ),
    bad("two Content-Lengths that differ", post("Content-Length: 1", "Content-Length: 2"), LENGTHS),
    bad("a list of Content-Lengths that differ", post("Content-Length: 1, 2"), LENGTHS),
    *[
        bad(f"Content-Length: {length!r}", post(f"Content-Length: {length}"), LENGTHS)
        for length in ["+1", "-1", "0x1", "1 1", "1;", "", "a", "9" * 40, "\xb9"]
    ],
    bad(
        "a transfer coding that is not known",
        post("Transfer-Encoding: bees, chunked"),
        ("rfc9112/6.1/9",),
        400,
        status=501,
    ),
    bad(
        "chunked that is not the last",
        post("Transfer-Encoding: chunked, gzip"),
        ("rfc9112/6.3/3",),
        501,
    ),
    bad("chunked twice", post("Transfer-Encoding: chunked, chunked"), ("rfc9112/6.1/2",), 501),
    bad(
        "a transfer coding that is not chunked",
        post("Transfer-Encoding: xchunked"),
        ("rfc9112/6.3/3",),
        501,
    ),
    bad("a vertical tab before chunked", post("Transfer-Encoding: \x0bchunked"), CODINGS, 501),
    bad(
        "a transfer coding in HTTP/1.0",
        page("Transfer-Encoding: chunked", first="POST /page HTTP/1.0"),
        ("rfc9112/6.1/14",),
        200,
        405,
    ),
    bad(
        "an opening handshake with a body",
        upgrade("Content-Length: 3") + b"abc",
        ("rfc6455/4.1",),
        101,
    ),
    bad(
        "an opening handshake in chunks",
        upgrade("Transfer-Encoding: chunked") + b"0\r\n\r\n",
        ("rfc6455/4.1",),
        101,
    ),
    opens("an opening handshake of length 0", upgrade("Content-Length: 0"), "rfc9110/8.6"),
    Case(
        name="a body behind a plain request",
        sent=post("Content-Length: 3", body="abc"),
        answers=(200,),
        allowed=frozenset({405}),
        after="kept",
        cites=("rfc9112/6.3",),
    ),
    Case(
        name="a body in chunks behind a plain request",
        sent=post("Transfer-Encoding: chunked", body="3\r\nabc\r\n0\r\n\r\n"),
        answers=(200,),
        allowed=frozenset({405}),
        after="kept",
        cites=("rfc9112/7.1/2",),
    ),
    shows("a plain request of length 0", page("Content-Length: 0"), "rfc9112/6.3"),
]

CONNECTIONS = [
    shows("a plain request", page(), "rfc9112/9.3/1"),
    shows("keep-alive", page("Connection: keep-alive"), "rfc9112/9.3/1"),
    Case(
        name="close",
        sent=page("Connection: close"),
        answers=(200,),
        headers={"connection": "close"},
        cites=("rfc9112/9.6/3", "rfc9112/9.6/5"),
    ),
    Case(
        name="close among other options",
        sent=page("Connection: x, CLOSE ,y"),
        answers=(200,),
        headers={"connection": "close"},
        cites=("rfc9112/9.6/3",),
    ),
    Case(
        name="a request behind the last one",
        sent=page("Connection: close") + page(),
        answers=(200,),
        headers={"connection": "close"},
        cites=("rfc9112/9.6/3",),
    ),
    Case(
        name="two requests at once",
        sent=page() * 2,
        answers=(200, 200),
        after="kept",
        cites=("rfc9112/9.3.2/2",),
    ),
    Case(
        name="five requests at once",
        sent=page() * 5,
        answers=(200,) * 5,
        after="kept",
        cites=("rfc9112/9.3.2/2",),
    ),
    Case(
        name="a wrong request behind a right one",
        sent=page() + page("X : y"),
        answers=(200, 400),
        cites=("rfc9112/5.1/1",),
    ),
    Case(
        name="an opening handshake behind a page",
        sent=page() + upgrade(),
        answers=(200, 101),
        after="open",
        cites=("rfc9112/9.3.2/2",),
    ),
    Case(
        name="HTTP/1.0", sent=b"GET /page HTTP/1.0\r\n\r\n", answers=(200,), cites=("rfc9112/9.3",)
    ),
    Case(
        name="HTTP/1.0 with Host",
        sent=page(first="GET /page HTTP/1.0"),
        answers=(200,),
        cites=("rfc9112/9.3",),
    ),
    bad("HTTP/1.0 with two Hosts", page("Host: b", first="GET /page HTTP/1.0"), ("rfc9112/3.2/6",)),
    opens(
        "frames behind the handshake",
        upgrade() + bytes.fromhex("818200000000 6869"),
        "rfc6455/4.2.2",
    ),
]

METHODS = [
    Case(
        name="HEAD",
        sent=page(first="HEAD /page HTTP/1.1"),
        answers=(200,),
        after="kept",
        allowed=frozenset({405}),
        heads=True,
        cites=("rfc9110/9.3.2/1",),
    ),
    Case(
        name="HEAD that is refused",
        sent=changed("Host: server.example.com\n", "", page(first="HEAD /page HTTP/1.1")),
        answers=(400,),
        heads=True,
        cites=("rfc9110/9.3.2/1",),
    ),
    Case(
        name="HEAD where only a WebSocket is",
        sent=page(first="HEAD /chat HTTP/1.1"),
        answers=(426,),
        allowed=frozenset({400, 404, 405}),
        heads=True,
        cites=("rfc9110/9.3.2/1",),
    ),
    *[
        Case(
            name=f"{method} as an opening handshake",
            sent=changed("GET", method),
            answers=(405,),
            allowed=frozenset({400, 404, 501}),
            headers={"allow": r".*\bGET\b.*"},
            cites=("rfc6455/4.2.1/h1", "rfc9110/15.5.6/1"),
        )
        for method in ["POST", "PUT", "OPTIONS", "TRACE"]
    ],
    Case(
        name="HEAD as an opening handshake",
        sent=changed("GET", "HEAD"),
        answers=(405,),
        allowed=frozenset({400, 404, 501}),
        headers={"allow": r".*\bGET\b.*"},
        heads=True,
        cites=("rfc6455/4.2.1/h1",),
    ),
    bad(
        "a method in small letters",
        changed("GET", "get"),
        ("rfc9110/9.1",),
        400,
        404,
        405,
        status=501,
    ),
    bad(
        "a method that nobody knows",
        changed("GET", "BUZZ"),
        ("rfc9110/9.1/3",),
        400,
        404,
        405,
        status=501,
    ),
    Case(
        name="POST where only a WebSocket is",
        sent=page(first="POST /chat HTTP/1.1"),
        answers=(405,),
        allowed=frozenset({400, 404, 426, 501}),
        headers={"allow": r".*\bGET\b.*"},
        cites=("rfc9110/15.5.6/1",),
    ),
    bad(
        "a method that nobody knows where only a WebSocket is",
        page(first="BUZZ /chat HTTP/1.1"),
        ("rfc9110/9.1/3",),
        400,
        404,
        405,
        426,
        status=501,
    ),
]

EXPECTATIONS = [
    Case(
        name="Expect with an opening handshake",
        sent=upgrade("Expect: 100-continue"),
        answers=(100, 101),
        after="open",
        cites=("rfc9110/7.8/12",),
    ),
    Case(
        name="Expect with an opening handshake that is refused",
        sent=changed("Version: 13", "Version: 6", upgrade("Expect: 100-continue")),
        answers=(426,),
        allowed=frozenset({400}),
        headers={"sec-websocket-version": r"13(, 8)?"},
        cites=("rfc9110/10.1.1",),
    ),
    bad(
        "an expectation that nobody knows",
        page("Expect: bees"),
        ("rfc9110/10.1.1/1",),
        200,
        status=417,
    ),
    bad(
        "an expectation that nobody knows, with an opening handshake",
        upgrade("Expect: bees"),
        ("rfc9110/10.1.1/1",),
        101,
        status=417,
    ),
    Case(
        name="an expectation in HTTP/1.0",
        answers=(200,),
        sent=page("Expect: 100-continue", first="GET /page HTTP/1.0"),
        cites=("rfc9110/10.1.1/7",),
    ),
]

CASES = [*BODIES, *CONNECTIONS, *METHODS, *EXPECTATIONS]
