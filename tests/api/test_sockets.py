"""Where a server listens: Unix sockets, adopted sockets, names with several addresses."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import vespiary

from .kit import OWN_HOST, OWN_WS, WS, Echo, serving


class Page(vespiary.Handler):
    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        return request.respond(200, f"{request.path} {request.authority}\n")


async def says_hello(url: str) -> bool:
    async with vespiary.connect(url) as client:
        client.send(b"hello")
        return bool(await client.receive() == b"hello")


async def test_websockets_run_over_unix_sockets(tmp_path: Path) -> None:
    url = f"ws+unix://{tmp_path}/chat.sock:/rooms/x?y=1"
    async with serving(Echo, f"ws+unix://{tmp_path}/chat.sock:/rooms/{{room}}"):
        assert await says_hello(url)
    assert not (tmp_path / "chat.sock").exists()


async def test_pages_and_websockets_share_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    server = vespiary.Server()
    server.add(Page, f"http+unix://{path}")
    server.add(Echo, f"ws+unix://{path}:/chat")
    async with server:
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport) as client:
            assert (await client.get("http://localhost/page")).text == "/page localhost\n"
        assert await says_hello(f"ws+unix://{path}:/chat")


@pytest.mark.parametrize("name", ["a b%c.sock", "a%20b.sock", "colon:here.sock", "q?x#y.sock"])
@pytest.mark.parametrize("scheme", ["unix", "ws+unix"])
async def test_the_urls_of_a_server_can_be_given_to_connect(
    tmp_path: Path, name: str, scheme: str
) -> None:
    endpoint = vespiary.Endpoint(
        scheme,  # type: ignore[arg-type]
        path=f"{tmp_path}/{name}",
        target="/" if scheme == "ws+unix" else "",
    )
    async with serving(Echo, str(endpoint)) as server:
        assert (tmp_path / name).is_socket()
        assert await says_hello(server.urls[0])


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o777])
async def test_the_file_of_a_unix_socket_has_the_mode_that_was_asked_for(
    tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "x.sock"
    async with serving(Echo, f"unix://{path}", mode=mode) as server:
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert await says_hello(server.urls[0])
    assert not path.exists()


@pytest.mark.parametrize("options", [{}, {"mode": 0o600}])
async def test_a_stale_socket_file_is_replaced_and_another_file_is_reported(
    tmp_path: Path, options: dict[str, int]
) -> None:
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with serving(Echo, f"unix://{path}", **options) as server:
        assert await says_hello(server.urls[0])
        with pytest.raises(OSError, match="another process listens there"):
            async with serving(Echo, f"unix://{path}", **options):
                pass
        assert await says_hello(server.urls[0])
    path.write_text("precious")
    with pytest.raises(OSError, match="a file which is not a socket"):
        async with serving(Echo, f"unix://{path}", **options):
            pass
    assert path.read_text() == "precious"


@pytest.mark.parametrize("by", ["sock", "fd"])
@pytest.mark.parametrize("is_listening", [False, True])
async def test_a_socket_that_exists_is_adopted(by: str, is_listening: bool) -> None:
    made = socket.socket()
    made.bind((OWN_HOST, 0))
    port = made.getsockname()[1]
    if is_listening:
        made.listen()
    options = {"sock": made} if by == "sock" else {"fd": made.detach()}
    async with serving(Echo, OWN_WS, **options) as server:
        assert server.urls == [f"ws://{OWN_HOST}:{port}/"]
        assert await says_hello(server.urls[0])
    with pytest.raises(ConnectionRefusedError):
        await vespiary.connect(f"ws://{OWN_HOST}:{port}/")


async def test_what_is_not_a_socket_of_the_kind_is_not_adopted() -> None:
    reading, writing = os.pipe()
    datagram = socket.socket(type=socket.SOCK_DGRAM)
    unix = socket.socket(socket.AF_UNIX)
    try:
        for options in ({"fd": reading}, {"sock": datagram}, {"sock": unix}):
            with pytest.raises(vespiary.ConfigurationError, match="socket"):
                async with serving(Echo, WS, **options):
                    pass
    finally:
        os.close(reading)
        os.close(writing)
        datagram.close()
        unix.close()


async def test_a_descriptor_that_cannot_listen_stays_the_caller_s() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(vespiary.ConfigurationError, match="connected to one peer"):
            async with serving(Echo, "unix:///tmp/x.sock", fd=ours.fileno()):
                pass
        ours.send(b"x")
        assert theirs.recv(1) == b"x"


def _unbound(family: int, kind: int, peer: socket.socket) -> socket.socket:
    return socket.socket(family, kind)


def _connected(family: int, kind: int, peer: socket.socket) -> socket.socket:
    peer.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        peer.listen()
    made = socket.socket(family, kind)
    made.connect(peer.getsockname())
    return made


_STREAM, _DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


@pytest.mark.parametrize("option", ["sock", "fd"])
@pytest.mark.parametrize(
    ("make", "family", "kind", "url", "words"),
    [
        (_unbound, socket.AF_INET, _STREAM, "ws://127.0.0.1:0", "not bound to an address"),
        (_unbound, socket.AF_INET6, _STREAM, "tcp://[::1]:0", "not bound to an address"),
        (_unbound, socket.AF_UNIX, _STREAM, "unix:///tmp/x.sock", "not bound to an address"),
        (_unbound, socket.AF_INET, _DATAGRAM, "udp://127.0.0.1:0", "not bound to an address"),
        (_unbound, socket.AF_UNIX, _DATAGRAM, "unixgram:///tmp/x.sock", "not bound to an address"),
        (_connected, socket.AF_INET, _STREAM, "tcp://127.0.0.1:0", "connected to one peer"),
        (_connected, socket.AF_INET, _DATAGRAM, "udp://127.0.0.1:0", "connected to one peer"),
    ],
)
async def test_a_socket_on_which_nobody_could_be_served_is_refused_and_stays_open(
    make: Callable[[int, int, socket.socket], socket.socket],
    family: int,
    kind: int,
    url: str,
    words: str,
    option: str,
) -> None:
    class Datagrams(vespiary.Handler):
        def on_datagram(self, datagram: vespiary.Datagram) -> None: ...

    with socket.socket(family, kind) as peer, make(family, kind, peer) as given:
        value = given if option == "sock" else given.fileno()
        with pytest.raises(vespiary.ConfigurationError, match=words):
            async with serving(Datagrams if kind == _DATAGRAM else Echo, url, **{option: value}):
                pass
        assert given.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == kind


async def test_localhost_is_listened_on_at_all_its_addresses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def resolve(host: str, port: int, **options: object) -> list[object]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("127.0.0.1", port)), (*kind, ("127.0.0.2", port))]

    monkeypatch.setattr("vespiary._listening.socket.getaddrinfo", resolve)
    caplog.set_level("INFO", "vespiary")
    async with serving(Echo, "ws://localhost:0") as server:
        monkeypatch.undo()
        port = server.urls[0].split(":")[2].rstrip("/")
        for host in ("127.0.0.1", "127.0.0.2"):
            assert await says_hello(f"ws://{host}:{port}")
        assert f"on 127.0.0.1:{port} and 127.0.0.2:{port}" in caplog.text


async def test_every_ipv6_address_says_that_it_takes_ipv6_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "vespiary")
    async with serving(Echo, "ws://[::]:0"):
        assert "IPv6 only" in caplog.text


@pytest.mark.parametrize(
    ("is_for_ipv6_alone", "note"), [(1, "IPv6 only; IPv4 needs"), (0, "IPv6 and IPv4")]
)
async def test_a_socket_for_every_ipv6_address_is_logged_as_it_is(
    caplog: pytest.LogCaptureFixture, is_for_ipv6_alone: int, note: str
) -> None:
    caplog.set_level("INFO", "vespiary")
    given = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    given.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, is_for_ipv6_alone)
    given.bind(("::", 0))
    port = given.getsockname()[1]
    async with serving(Echo, f"ws://[::]:{port}", sock=given):
        assert note in caplog.text
        assert await says_hello(f"ws://[::1]:{port}")
        if not is_for_ipv6_alone:
            assert await says_hello(f"ws://127.0.0.1:{port}")


async def test_ipv4_and_ipv6_are_two_endpoints_on_one_port() -> None:
    server = vespiary.Server(signals=False)
    server.add(Echo, "ws://[::]:0")
    async with server:
        port = server.urls[0].split(":")[-1].rstrip("/")
        server.add(Echo, f"ws://0.0.0.0:{port}")
        assert await says_hello(f"ws://[::1]:{port}")
        assert await says_hello(f"ws://127.0.0.1:{port}")


@pytest.mark.parametrize("name", ["nowhere.invalid", f"{'x' * 64}.invalid"])
async def test_a_name_that_cannot_be_resolved_is_reported_with_the_url(name: str) -> None:
    with pytest.raises(OSError, match=rf"cannot listen on ws://{name}:80/"):
        async with serving(Echo, f"ws://{name}:80"):
            pass
    with pytest.raises(OSError, match=rf"cannot connect to ws://{name}:80/"):
        await vespiary.connect(f"ws://{name}:80")
