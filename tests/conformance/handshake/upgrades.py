"""Cases about the opening handshake itself: RFC 6455 sections 4.2, 4.4, 10.2 and 11.3."""

import re

from tests.conformance.handshake.case import ACCEPT, KEY, Case, changed, page, upgrade
from tests.conformance.handshake.heads import bad, opens

__all__ = ["CASES"]

UPGRADE = "Upgrade: websocket\n"
CONNECTION = "Connection: Upgrade\n"
KEY_LINE = f"Sec-WebSocket-Key: {KEY}\n"
VERSION = "Sec-WebSocket-Version: 13\n"
KEYS = ("rfc6455/4.2.1/h5",)
VERSIONS = {"sec-websocket-version": r"13(, 8)?"}

RIGHT = [
    Case(
        name="the example of the specification",
        sent=upgrade(),
        answers=(101,),
        after="open",
        headers={
            "upgrade": "websocket",
            "connection": "(?i)upgrade",
            "sec-websocket-accept": re.escape(ACCEPT),
        },
        absent=(
            "sec-websocket-protocol",
            "sec-websocket-extensions",
            "content-length",
            "transfer-encoding",
            "sec-websocket-version",
        ),
        cites=("rfc6455/4.2.2", "rfc9110/8.6"),
    ),
    opens(
        "Upgrade among others", changed(UPGRADE, "Upgrade: h2c, websocket\n"), "rfc6455/4.2.1/h3"
    ),
    opens("Upgrade in other letters", changed(UPGRADE, "Upgrade: WebSocket\n"), "rfc6455/4.2.1/h3"),
    opens("Upgrade on two lines", upgrade("Upgrade: h2c"), "rfc9110/5.3"),
    opens(
        "Connection among others",
        changed(CONNECTION, "Connection: keep-alive, Upgrade\n"),
        "rfc6455/4.2.1/h4",
    ),
    opens(
        "Connection in other letters",
        changed(CONNECTION, "Connection: uPGRADE\n"),
        "rfc6455/4.2.1/h4",
    ),
    opens("Connection on two lines", upgrade("Connection: keep-alive"), "rfc9110/5.3"),
    opens(
        "empty elements of a list",
        changed(CONNECTION, "Connection: , ,Upgrade,,\n"),
        "rfc9110/5.6.1.2/1",
    ),
    opens("fields that nobody knows", upgrade("X-Bee: 1", "Sec-WebSocket-Bee: 2"), "rfc6455/4.2.1"),
    opens("a key with spare bits", changed(KEY, "dGhlIHNhbXBsZSBub25jZR=="), "rfc6455/4.2.1/h5"),
]

WRONG = [
    Case(
        name="no Upgrade",
        sent=changed(UPGRADE, ""),
        answers=(426,),
        allowed=frozenset({400, 404}),
        headers={"upgrade": "websocket"},
        cites=("rfc6455/4.2.1/h3", "rfc9110/15.5.22/1"),
    ),
    Case(
        name="another protocol in Upgrade",
        sent=changed(UPGRADE, "Upgrade: websockets\n"),
        answers=(426,),
        allowed=frozenset({400, 404}),
        headers={"upgrade": "websocket"},
        cites=("rfc6455/4.2.1/h3",),
    ),
    Case(
        name="a page where only a WebSocket is",
        sent=page(first="GET /chat HTTP/1.1"),
        answers=(426,),
        allowed=frozenset({400, 404}),
        headers={"upgrade": "websocket", "connection": "(?i).*upgrade.*"},
        cites=("rfc9110/15.5.22/1", "rfc9110/7.8/10"),
    ),
    Case(
        name="an opening handshake in HTTP/1.0",
        sent=changed("HTTP/1.1", "HTTP/1.0"),
        answers=(426,),
        allowed=frozenset({400, 404, 505}),
        cites=("rfc6455/4.2.1/h1", "rfc9110/7.8/11"),
    ),
    bad("no Connection", changed(CONNECTION, ""), ("rfc6455/4.2.1/h4",), 426),
    bad(
        "Connection without Upgrade",
        changed(CONNECTION, "Connection: keep-alive\n"),
        ("rfc6455/4.2.1/h4",),
        426,
    ),
    bad(
        "Connection: close",
        changed(CONNECTION, "Connection: close\n"),
        ("rfc6455/4.2.1/h4",),
        426,
        404,
    ),
    bad("no key", changed(KEY_LINE, ""), KEYS, 426),
    bad("two keys", upgrade(f"Sec-WebSocket-Key: {KEY}"), ("rfc6455/11.3.1",)),
    *[
        bad(f"the key {key!r}", changed(KEY, key), KEYS)
        for key in [
            "",
            "AQIDBAUGBwgJCgsMDQ4PEC==AA",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25j",
            "AAAAAAAAAAAAAAAAAAAAAAAA",
            "dGhlIHNhbXBsZSBub25j*Q==",
            "dGhlIHNhbXBsZSBub 5jZQ==",
            "dGhlIHNhbXBsZSBub25jZ-==",
        ]
    ],
    bad("no version of WebSocket", changed(VERSION, ""), ("rfc6455/4.2.1/h6",), 426),
    bad("two versions", upgrade("Sec-WebSocket-Version: 13"), ("rfc6455/11.3.5",)),
    *[
        Case(
            name=f"version {version}",
            sent=changed(": 13", f": {version}"),
            answers=(426,),
            allowed=frozenset({400}),
            headers=VERSIONS,
            cites=("rfc6455/4.4", "rfc6455/4.2.2/h6"),
        )
        for version in ["0", "6", "12", "14", "25", "255"]
    ],
    *[
        bad(f"the version {version!r}", changed(": 13", f": {version}"), ("rfc6455/4.3",), 426)
        for version in ["013", "13.0", "+13", "256", "13, 8", "thirteen", "", "-1"]
    ],
]

SUBPROTOCOLS = [
    Case(
        name="a subprotocol that is spoken",
        sent=upgrade("Sec-WebSocket-Protocol: v1.chat"),
        answers=(101,),
        after="open",
        headers={"sec-websocket-protocol": r"v1\.chat"},
        cites=("rfc6455/4.2.2/8",),
    ),
    Case(
        name="subprotocols on two lines",
        after="open",
        answers=(101,),
        sent=upgrade("Sec-WebSocket-Protocol: other", "Sec-WebSocket-Protocol: v1.chat"),
        headers={"sec-websocket-protocol": r"v1\.chat"},
        cites=("rfc6455/11.3.4",),
    ),
    Case(
        name="a subprotocol that is not spoken",
        sent=upgrade("Sec-WebSocket-Protocol: other"),
        answers=(101,),
        allowed=frozenset({400}),
        after="open",
        absent=("sec-websocket-protocol",),
        cites=("rfc6455/4.2.2/9",),
    ),
    Case(
        name="a subprotocol in other letters",
        sent=upgrade("Sec-WebSocket-Protocol: V1.CHAT"),
        answers=(101,),
        allowed=frozenset({400}),
        after="open",
        absent=("sec-websocket-protocol",),
        cites=("rfc6455/11.5",),
    ),
    bad(
        "a subprotocol twice",
        upgrade("Sec-WebSocket-Protocol: v1.chat, v1.chat"),
        ("rfc6455/4.1",),
        101,
    ),
    bad(
        "a subprotocol that is not a token",
        upgrade("Sec-WebSocket-Protocol: v1 chat"),
        ("rfc6455/4.3",),
    ),
    bad("a subprotocol in quotes", upgrade('Sec-WebSocket-Protocol: "v1.chat"'), ("rfc6455/4.3",)),
    bad("no subprotocol in the field", upgrade("Sec-WebSocket-Protocol:"), ("rfc6455/4.3",), 101),
]

EXTENSIONS = [
    Case(
        name="an extension that nobody knows",
        after="open",
        answers=(101,),
        sent=upgrade("Sec-WebSocket-Extensions: bees; size=3"),
        absent=("sec-websocket-extensions",),
        cites=("rfc6455/9.1",),
    ),
    Case(
        name="extensions on two lines",
        after="open",
        answers=(101,),
        sent=upgrade("Sec-WebSocket-Extensions: a", 'Sec-WebSocket-Extensions: b; c="d"'),
        absent=("sec-websocket-extensions",),
        cites=("rfc6455/11.3.2",),
    ),
    *[
        bad(
            f"the extensions {value!r}",
            upgrade(f"Sec-WebSocket-Extensions: {value}"),
            ("rfc6455/9.1",),
        )
        for value in ["a b", ";", "a;", "a=1", "a; b=", 'a; b="c', "a; b=(c)", 'a; b="c d"']
    ],
]

ORIGINS = [
    Case(
        name="a page that may connect",
        sent=upgrade("Origin: https://example.com"),
        answers=(101,),
        after="open",
        cites=("rfc6455/10.2",),
        feature="origins",
    ),
    *[
        bad(f"a page of {origin}", upgrade(f"Origin: {origin}"), ("rfc6455/4.2.2/5",), status=403)
        for origin in [
            "https://evil.test",
            "http://example.com",
            "https://example.com.evil.test",
            "https://example.com:8443",
            "https://evil.test https://example.com",
            "null",
        ]
    ],
    bad(
        "two Origins",
        upgrade("Origin: https://example.com", "Origin: https://evil.test"),
        ("rfc6454/7.3",),
        403,
    ),
]
ORIGINS = [
    Case(**{**{name: getattr(case, name) for name in Case.__slots__}, "feature": "origins"})
    for case in ORIGINS
]

CASES = [*RIGHT, *WRONG, *SUBPROTOCOLS, *EXTENSIONS, *ORIGINS]
