"""The servers that are measured: ours in their forms, and the peers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
OURS = HERE / "ours"
FILES = ("{certificate}", "{key}")
DATAGRAM_SCENARIOS = frozenset({"S1", "S3", "D1"})
"""Those in which no socket's buffer overflows."""

Transport = Literal["tcp", "ws", "udp", "tls", "wss", "https"]


@dataclass(frozen=True)
class Server:
    """A server that echoes, and how it is started.

    Attributes:
        name: Unique within its transport.
        transport: What it speaks.
        kind: `ours`, a `peer`, or any `other` that was named on the command line.
        command: Its words; `{port}`, `{python}`, `{node}`, `{bun}` and `{bin}` are filled in.
        environment: Added to the environment that it gets.
        probe: What must succeed for it to count as installed; the same words are filled in.
        scenarios: The only ones that it takes part in; empty for all.
        announces: Whether it prints `READY port`; otherwise the port is tried until it answers.
    """

    name: str
    transport: Transport
    kind: Literal["ours", "peer", "other"]
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    probe: tuple[str, ...] = ()
    scenarios: frozenset[str] = frozenset()
    announces: bool = True

    @property
    def key(self) -> str:
        """The name with its transport, as results hold it: `ws/picows`."""
        return f"{self.transport}/{self.name}"


def _ours(form: str, transport: Transport, driver: str) -> Server:
    return Server(
        name=f"vespiary, {form}, {driver}",
        transport=transport,
        kind="ours",
        command=("{python}", str(OURS / f"{form}.py"), transport, "{port}"),
        environment={
            "VESPIARY_DRIVER": driver,
            "PYTHONPATH": str(HERE.parent / "src"),
        },
        probe=("{python}", "-c", "import vespiary; vespiary.serve"),
    )


def _datagrams(form: str, driver: str) -> Server:
    base = _ours("datagram", "udp", driver)
    more = {"BENCH_CONNECTIONS": "1"} if form == "connections" else {}
    return replace(
        base,
        name=f"vespiary, {form}, {driver}",
        environment={**base.environment, **more},
        scenarios=DATAGRAM_SCENARIOS,
    )


def _guest(form: str, loop: str, driver: str) -> Server:
    base = _ours(form, "ws", driver)
    return Server(
        name=f"vespiary in {loop}, {form}, {driver}",
        transport="ws",
        kind="ours",
        command=("{python}", str(OURS / "guest.py"), form, "ws", "{port}", loop),
        environment=base.environment,
        probe=("{python}", "-c", f"import vespiary, {loop}"),
        scenarios=frozenset({"S1", "S2"}),
    )


def _spinning() -> Server:
    base = _ours("callback", "ws", "uring")
    return Server(
        name="vespiary, callback, uring, spin",
        transport="ws",
        kind="ours",
        command=base.command,
        environment={**base.environment, "BENCH_SPIN_MICROSECONDS": "200"},
        probe=base.probe,
        scenarios=frozenset({"S3"}),
    )


def _python(
    name: str, transport: Transport, file: str, modules: str, announces: bool = True
) -> Server:
    return Server(
        name=name,
        transport=transport,
        kind="peer",
        command=("{python}", str(PEERS / file), "{port}"),
        environment={"PYTHONPATH": str(PEERS)},
        probe=("{python}", "-c", f"import {modules}"),
        announces=announces,
    )


def _compiled(name: str, transport: Transport, program: str) -> Server:
    return Server(
        name=name,
        transport=transport,
        kind="peer",
        command=("{bin}/" + program, "{port}"),
        probe=("test", "-x", "{bin}/" + program),
    )


def _go(transport: Transport, *files: str) -> Server:
    base = _compiled("Go", transport, "go_echo")
    return replace(base, command=("{bin}/go_echo", transport, "{port}", *files))


def _with_tls(base: Server, transport: Transport) -> Server:
    """A server that has TLS if a certificate and a key are named behind the port.

    Those with OpenSSL use the same cipher as the others, whichever their client offers first.
    """
    return replace(
        base,
        transport=transport,
        command=(*base.command, *FILES),
        environment={**base.environment, "OPENSSL_CONF": "{openssl}"},
    )


def _script(name: str, runtime: str, file: str, probe: str) -> Server:
    return Server(
        name=name,
        transport="ws",
        kind="peer",
        command=(runtime, str(PEERS / file), "{port}"),
        environment={"NODE_PATH": "{modules}"},
        probe=(runtime, "-e", probe),
    )


OURS_FORMS = tuple(
    _ours(form, transport, driver)
    for transport in ("ws", "tcp")
    for form in ("callback", "coroutine")
    for driver in ("uring", "epoll")
)

DATAGRAM_FORMS = tuple(
    _datagrams(form, driver)
    for form in ("on_datagram", "connections")
    for driver in ("uring", "epoll")
)

GUESTS = tuple(
    _guest(form, loop, driver)
    for form in ("callback", "coroutine")
    for loop in ("asyncio", "uvloop")
    for driver in ("uring", "epoll")
)

PEER_SERVERS = (
    _python("asyncio Protocol", "tcp", "asyncio_protocol.py", "asyncio"),
    _python("uvloop Protocol", "tcp", "uvloop_protocol.py", "uvloop"),
    _python("uvloop BufferedProtocol", "tcp", "uvloop_buffered.py", "uvloop"),
    _python("rloop Protocol", "tcp", "rloop_protocol.py", "rloop"),
    _compiled("Boost.Asio", "tcp", "asio_tcp"),
    _go("tcp"),
    replace(_go("udp"), scenarios=DATAGRAM_SCENARIOS),
    replace(
        _python("asyncio DatagramProtocol", "udp", "asyncio_datagram.py", "asyncio"),
        scenarios=DATAGRAM_SCENARIOS,
    ),
    replace(
        _python("uvloop DatagramProtocol", "udp", "uvloop_datagram.py", "uvloop"),
        scenarios=DATAGRAM_SCENARIOS,
    ),
    _python("picows on uvloop", "ws", "picows_uvloop.py", "picows, uvloop"),
    _python("websockets on uvloop", "ws", "websockets_uvloop.py", "websockets, uvloop"),
    _python("aiohttp on uvloop", "ws", "aiohttp_uvloop.py", "aiohttp, uvloop"),
    _python("socketify", "ws", "socketify_echo.py", "socketify"),
    _python("granian (RSGI)", "ws", "granian_rsgi.py", "granian, uvloop", False),
    _script("Bun", "{bun}", "bun_ws.js", "Bun.version"),
    _script("Node ws", "{node}", "node_ws.js", "require('ws'); require('bufferutil')"),
    _compiled("Boost.Beast", "ws", "beast_ws"),
)

TLS_SERVERS = (
    *(
        _with_tls(_ours("callback", transport, driver), transport)
        for transport in ("wss", "tls")
        for driver in ("uring", "epoll")
    ),
    _with_tls(_python("picows on uvloop", "ws", "picows_uvloop.py", "picows, uvloop"), "wss"),
    _with_tls(_script("Bun", "{bun}", "bun_ws.js", "Bun.version"), "wss"),
    _with_tls(_compiled("Go gorilla", "ws", "go_ws"), "wss"),
    *(
        _with_tls(
            replace(
                _python(f"{name} Protocol", "tls", "uvloop_tls.py", f"uvloop, {name}"),
                command=("{python}", str(PEERS / "uvloop_tls.py"), name, "{port}"),
            ),
            "tls",
        )
        for name in ("uvloop", "aiofastnet")
    ),
    _go("tls", *FILES),
    _with_tls(_compiled("Boost.Asio", "tcp", "asio_tls"), "tls"),
    *(_with_tls(_ours("page", "https", driver), "https") for driver in ("uring", "epoll")),
    replace(
        _with_tls(_python("nginx", "tcp", "nginx_page.py", "sys", announces=False), "https"),
        probe=("nginx", "-v"),
    ),
    _with_tls(_compiled("Go net/http", "ws", "go_ws"), "https"),
)
"""Those with a certificate: `python -m benches.tls`."""

PUBLISHERS = (
    *(_ours("publish", "ws", driver) for driver in ("uring", "epoll")),
    _script("Bun, publish", "{bun}", "bun_publish.js", "Bun.version"),
    _python("picows on uvloop, a loop", "ws", "picows_publish.py", "picows, uvloop"),
    _python("websockets on uvloop, broadcast", "ws", "websockets_publish.py", "websockets, uvloop"),
)
"""Those that send each message to all connections: `python -m benches.broadcast`."""

BASELINES: Mapping[Transport, str] = {
    "ws": "ws/vespiary, callback, uring",
    "tcp": "tcp/vespiary, callback, uring",
    "udp": "udp/vespiary, on_datagram, uring",
}
"""What ratios are taken to."""


def servers() -> tuple[Server, ...]:
    """All servers that the project knows, ours first."""
    return (*OURS_FORMS, *DATAGRAM_FORMS, _spinning(), *GUESTS, *PEER_SERVERS)


def other(text: str) -> Server:
    """A server from the command line: `TRANSPORT:NAME=COMMAND` with `{port}` in the command.

    Raises:
        ValueError: The text has another shape.
    """
    head, equals, command = text.partition("=")
    transport, colon, name = head.partition(":")
    if not equals or not colon or transport not in ("tcp", "ws") or "{port}" not in command:
        raise ValueError(f"{text!r}: write tcp:NAME=COMMAND or ws:NAME=COMMAND, with {{port}}")
    return Server(
        name=name,
        transport="ws" if transport == "ws" else "tcp",
        kind="other",
        command=("/bin/sh", "-c", f"exec {command}"),
        announces=False,
    )
