"""Cases about the form of a head: RFC 9112 sections 2, 3 and 5."""

from tests.conformance.handshake.case import Case, changed, page, upgrade

__all__ = ["CASES"]

HOST = "Host: server.example.com\n"
FIRST = "GET /chat HTTP/1.1\n"
GRAMMAR = ("rfc9112/2.2/10",)
LINE = ("rfc9112/3.2/1",)
TARGET = ("rfc9112/3.2/1",)
HOSTS = ("rfc9112/3.2/6",)
FIELD = ("rfc9112/5.1/1",)
VALUE = ("rfc9110/5.5/4",)


def bad(name: str, sent: bytes, cites: tuple[str, ...], *allowed: int, status: int = 400) -> Case:
    """A case that is refused."""
    return Case(name=name, sent=sent, answers=(status,), allowed=frozenset(allowed), cites=cites)


def opens(name: str, sent: bytes, *cites: str) -> Case:
    """A case that is accepted."""
    return Case(name=name, sent=sent, answers=(101,), after="open", cites=cites)


def shows(name: str, sent: bytes, *cites: str) -> Case:
    """A plain request that is answered, with the connection kept."""
    return Case(name=name, sent=sent, answers=(200,), after="kept", cites=cites)


LINE_ENDS = [
    opens("one empty line before the request", b"\r\n" + upgrade(), "rfc9112/2.2/7"),
    bad("a bare LF in front", b"\n" + upgrade(), GRAMMAR, 101),
    bad(
        "a bare LF behind the request line",
        changed(FIRST, FIRST[:-1] + "\0").replace(b"\0", b"\n"),
        ("rfc9112/2.2/2",),
        101,
    ),
    bad(
        "a bare LF behind a field", upgrade().replace(b"com\r\n", b"com\n"), ("rfc9112/2.2/2",), 101
    ),
    bad("bare LFs alone", upgrade().replace(b"\r\n", b"\n"), ("rfc9112/2.2/2",), 101),
    bad(
        "a bare CR in the request line", upgrade().replace(b" HTTP", b"\r HTTP"), ("rfc9112/2.2/4",)
    ),
    bad("a bare CR in a value", upgrade("X-Bee: a\rb"), ("rfc9112/2.2/4",), 101),
    bad(
        "a bare CR that hides a field",
        upgrade("X-Bee: a\rTransfer-Encoding: chunked"),
        ("rfc9112/2.2/4",),
        101,
    ),
    bad("a bare CR before the end", upgrade()[:-2] + b"\r\r\n", ("rfc9112/2.2/4",)),
    bad("space before the first field", changed(HOST, " " + HOST), ("rfc9112/2.2/9",)),
    bad("a tab before the first field", changed(HOST, "\t" + HOST), ("rfc9112/2.2/9",)),
    bad("bytes of a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", GRAMMAR),
    bad("a line of SMTP", b"EHLO server.example.com\r\n", GRAMMAR),
    bad("zero bytes", bytes(20), GRAMMAR),
]

REQUEST_LINES = [
    bad("two spaces behind the method", changed("GET /", "GET  /"), LINE, 101),
    bad("a space at the line's end", changed("HTTP/1.1\n", "HTTP/1.1 \n"), LINE, 101),
    bad("a tab between method and target", changed("GET /", "GET\t/"), LINE, 101),
    bad("space before the method", b" " + upgrade(), LINE),
    bad("a space in the target", changed("/chat ", "/chat room "), ("rfc9112/3.2/1",)),
    bad("no version", changed(" HTTP/1.1", ""), LINE, 505),
    bad("no target", changed("/chat ", ""), LINE),
    bad("a version in small letters", changed("HTTP/1.1", "http/1.1"), ("rfc9112/2.3",), 505),
    bad("a version of two digits", changed("HTTP/1.1", "HTTP/1.10"), ("rfc9112/2.3",), 505),
    bad("a version of letters", changed("HTTP/1.1", "HTTP/1.x"), ("rfc9112/2.3",), 505),
    bad("a version without a point", changed("HTTP/1.1", "HTTP/11"), ("rfc9112/2.3",), 505),
    bad("another protocol's name", changed("HTTP/1.1", "HTCPCP/1.0"), ("rfc9112/2.3",), 505),
    bad("version 2.0", changed("HTTP/1.1", "HTTP/2.0"), ("rfc9110/15.6.6",), 400, status=505),
    bad("version 0.9", changed("HTTP/1.1", "HTTP/0.9"), ("rfc9110/15.6.6",), 400, status=505),
    bad(
        "the preface of HTTP/2",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ("rfc9110/15.6.6",),
        400,
        status=505,
    ),
    opens("version 1.2", changed("HTTP/1.1", "HTTP/1.2"), "rfc9110/2.5"),
    bad("a comma in the method", changed("GET", "GE,T"), ("rfc9110/9.1",), 501, 405),
    bad("no method", b"/chat HTTP/1.1\r\nHost: a\r\n\r\n", LINE),
    bad(
        "a method longer than any",
        page(first="G" * 200 + " /page HTTP/1.1"),
        ("rfc9112/3/2",),
        400,
        405,
        status=501,
    ),
    bad(
        "a target of 20 KiB",
        changed("/chat", "/" + "a" * 20_480),
        ("rfc9112/3/3",),
        400,
        431,
        status=414,
    ),
]

TARGETS = [
    opens("a query", changed("/chat", "/chat?room=1&x=%20"), "rfc9112/3.2.1"),
    opens("a whole URL", changed("/chat", "http://server.example.com/chat"), "rfc9112/3.2.2/6"),
    opens(
        "a whole URL of another host than Host's",
        changed("/chat", "http://other.test/chat"),
        "rfc9112/3.2.2/5",
    ),
    bad("an asterisk with GET", changed("/chat", "*"), ("rfc9112/3.2.4",), 404),
    bad(
        "an authority with GET", changed("/chat", "server.example.com:80"), ("rfc9112/3.2.3",), 404
    ),
    bad("no slash in front", changed("/chat", "chat"), TARGET, 404),
    bad("a fragment", changed("/chat", "/chat#room"), TARGET, 404),
    bad("a control character", changed("/chat", "/ch\x01at"), TARGET, 404),
    bad("a byte above ASCII", changed("/chat", "/ch\xe4t"), TARGET, 404),
    bad("a zero byte", changed("/chat", "/chat\0"), TARGET, 404),
    bad("a whole URL without a host", changed("/chat", "http:///chat"), ("rfc9110/4.2.1/2",), 404),
    bad(
        "a whole URL with a user",
        changed("/chat", "http://me@a/chat"),
        ("rfc9110/4.2.4/2",),
        101,
        404,
    ),
    bad("a whole URL of another scheme", changed("/chat", "ftp://a/chat"), TARGET, 404, 421),
    bad(
        "a whole URL under TLS",
        changed("/chat", "https://server.example.com/chat"),
        ("rfc9110/7.4/1",),
        400,
        status=421,
    ),
    bad(
        "CONNECT",
        page(first="CONNECT a:80 HTTP/1.1"),
        ("rfc9110/9.3.6",),
        400,
        404,
        405,
        status=501,
    ),
    bad(
        "CONNECT with a path",
        page(first="CONNECT /page HTTP/1.1"),
        ("rfc9112/3.2.3",),
        404,
        405,
        501,
    ),
    bad(
        "CONNECT without a port",
        page(first="CONNECT a HTTP/1.1"),
        ("rfc9110/9.3.6/2",),
        404,
        405,
        501,
    ),
]

HOST_FIELDS = [
    bad("no Host", changed(HOST, ""), HOSTS),
    bad("two Hosts", upgrade("Host: other.test"), HOSTS),
    bad("the same Host twice", upgrade("host: server.example.com"), HOSTS),
    bad("an empty Host", changed(HOST, "Host:\n"), ("rfc9110/4.2.1/2",), 101),
    *[
        bad(f"Host: {host!r}", changed(HOST, f"Host: {host}\n"), HOSTS)
        for host in [
            "a b",
            "a/b",
            "a?b",
            "me@a",
            "a:http",
            "a:1:2",
            ":80",
            "a:70000",
            "[::1",
            "[]",
            "[1]",
            "::1",
            "a%zz",
            "a,b c",
            "\xe4.test",
            'a"b',
            "a\\b",
        ]
    ],
    *[
        opens(f"Host: {host}", changed(HOST, f"Host: {host}\n"), "rfc9110/7.2")
        for host in ["a", "A.Test:", "127.0.0.1:9001", "[::1]", "[2001:db8::1]:443", "a_b", "a%41"]
    ],
    shows(
        "HTTP/1.1 over an absolute target without Upgrade",
        page(first="GET http://server.example.com/page HTTP/1.1"),
        "rfc9112/3.2.2/6",
    ),
]

FIELDS = [
    bad("space before a colon", upgrade("X-Bee : a"), FIELD),
    bad("a tab before a colon", upgrade("X-Bee\t: a"), FIELD),
    bad("space before the colon of Host", changed("Host:", "Host :"), FIELD),
    bad("a folded line", upgrade("X-Bee: a", " b"), ("rfc9112/5.2/2",), 101),
    bad("a line folded with a tab", upgrade("X-Bee: a", "\tb"), ("rfc9112/5.2/2",), 101),
    bad("a folded key", upgrade("X-Bee: a", " Sec-WebSocket-Key: b"), ("rfc9112/5.2/2",), 101),
    bad("a line without a colon", upgrade("X-Bee"), ("rfc9112/5",)),
    bad("a field without a name", upgrade(": a"), ("rfc9110/5.1",)),
    bad("a space in a name", upgrade("X Bee: a"), ("rfc9110/5.1",)),
    bad("a bracket in a name", upgrade("X(Bee): a"), ("rfc9110/5.1",)),
    bad("a zero byte in a name", upgrade("X\0: a"), ("rfc9110/5.1",)),
    bad("a byte above ASCII in a name", upgrade("X-B\xe9: a"), ("rfc9110/5.1",)),
    bad("a zero byte in a value", upgrade("X-Bee: a\0b"), VALUE, 101),
    bad("an escape in a value", upgrade("X-Bee: a\x1bb"), VALUE, 101),
    bad("a delete in a value", upgrade("X-Bee: a\x7fb"), VALUE, 101),
    opens("a value with a tab inside", upgrade("X-Bee: a\tb"), "rfc9110/5.5"),
    opens("a value of bytes above ASCII", upgrade("X-Bee: caf\xe9 \xff"), "rfc9110/5.5/3"),
    opens("an empty value", upgrade("X-Bee:"), "rfc9110/5.5"),
    opens("no space behind a colon", upgrade("X-Bee:a"), "rfc9112/5"),
    opens("space around a value", upgrade("X-Bee: \t a \t "), "rfc9110/5.5/1"),
    opens("a name of every token character", upgrade("!#$%&'*+-.^_`|~09az: a"), "rfc9110/5.6.2"),
    opens(
        "names in another case",
        upgrade().replace(b"Sec-WebSocket", b"SEC-WEBSOCKET").replace(b"Host", b"hOST"),
        "rfc9110/5.1",
    ),
    bad(
        "a head of 20 KiB",
        upgrade("X-Bee: " + "a" * 20_480),
        ("rfc9110/5.4/1",),
        400,
        413,
        status=431,
    ),
    bad("200 fields", upgrade(*["X-Bee: a"] * 200), ("rfc9110/5.4/1",), 400, 413, status=431),
]

CASES = [*LINE_ENDS, *REQUEST_LINES, *TARGETS, *HOST_FIELDS, *FIELDS]
