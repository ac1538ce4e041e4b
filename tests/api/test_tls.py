"""TLS: servers and clients, each beside Python's own `ssl`, and what goes wrong."""

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest

import vespiary
import vespiary.sync
from vespiary import ClientTLS, ServerTLS

from .certificates import Certificates
from .kit import Echo, serving, until

pytestmark = pytest.mark.filterwarnings("ignore:ssl.*deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "vespiary")


def address_of(server: vespiary.Server) -> tuple[str, int]:
    endpoint = vespiary.Endpoint.parse(server.urls[0])
    return endpoint.host, endpoint.port


async def open_ssl(
    server: vespiary.Server, context: ssl.SSLContext, name: str = "localhost"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*address_of(server), ssl=context, server_hostname=name)


@pytest.mark.requirement("rfc6455/4.1/13", "rfc6455/4.1/15", "rfc6455/4.2.2/2", "rfc6455/10.6/1")
@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 1_000_000])
async def test_messages_of_any_size_are_echoed(
    tls: ServerTLS, trusting: ClientTLS, size: int
) -> None:
    limits = vespiary.Limits(message_bytes_max=2_000_000, frame_bytes_max=2_000_000)
    async with (
        serving(Echo, "wss://127.0.0.1:0", tls=tls, limits=limits) as server,
        vespiary.connect(server.urls[0], tls=trusting, limits=limits) as client,
    ):
        client.send(b"x" * size)
        assert await client.receive() == b"x" * size
    assert client.close_reason is not None
    assert client.close_reason.code == 1000


async def test_both_ends_know_what_was_agreed_on_after_the_end_too(
    tls: ServerTLS, trusting: ClientTLS
) -> None:
    seen = []

    class Seeing(Echo):
        def on_open(self, connection: vespiary.Connection) -> None:
            seen.append(connection.tls)

        def on_close(self, connection: vespiary.Connection, _: vespiary.CloseReason) -> None:
            seen.append(connection.tls)

    async with serving(Seeing, "wss://localhost:0", tls=tls) as server:
        async with vespiary.connect(server.urls[0], tls=trusting) as client:
            await client.ping()
            before = client.tls
        assert client.tls == before
    opened, closed = seen
    assert opened is not None
    assert before is not None
    assert opened == closed
    assert before.version == opened.version == "TLSv1.3"
    assert before.group == opened.group == "X25519MLKEM768"
    assert before.alpn == opened.alpn == "http/1.1"
    assert before.server_name == opened.server_name == "localhost"
    assert before.peer_certificate is not None
    assert opened.peer_certificate is None
    assert b"-----" not in repr(before).encode()


async def test_a_connection_without_tls_says_none() -> None:
    async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
        assert client.tls is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("framing", ["raw", "line"])
async def test_openssl_talks_to_a_stream(
    certificates: Certificates, tls: ServerTLS, version: ssl.TLSVersion, framing: Any
) -> None:
    context = certificates.context(maximum_version=version)
    async with serving(Echo, "tls://127.0.0.1:0", tls=tls, framing=framing) as server:
        reader, writer = await open_ssl(server, context)
        for _ in range(3):
            writer.write(b"hello\n" * 5000)
            assert await reader.readexactly(30_000) == b"hello\n" * 5000
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_talks_to_openssl(
    certificates: Certificates, trusting: ClientTLS, version: ssl.TLSVersion
) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    context = certificates.server_context()
    context.maximum_version = version
    async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"tls://localhost:{port}"
        async with vespiary.connect(url, tls=trusting, framing="line") as client:
            assert client.tls is not None
            assert client.tls.version == f"TLSv1.{version.value - 0x0301}"
            client.send(b"hello")
            assert await client.receive() == b"hello"


async def test_requests_of_https_are_answered(certificates: Certificates, tls: ServerTLS) -> None:
    class Page(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            assert request.connection.tls is not None
            return request.respond(200, f"over {request.connection.tls.version}")

    async with serving(Page, "https://127.0.0.1:0", tls=tls) as server:
        reader, writer = await open_ssl(server, certificates.context())
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"over TLSv1.3")
        writer.close()


async def test_a_whole_url_as_target_is_served_under_tls(
    certificates: Certificates, tls: ServerTLS
) -> None:
    class Page(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            return request.respond(200, request.target)

    async with serving(Page, "https://127.0.0.1:0", tls=tls) as server:
        reader, writer = await open_ssl(server, certificates.context())
        writer.write(b"GET https://localhost/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_the_certificate_fits_the_name_that_was_asked_for(
    certificates: Certificates,
) -> None:
    first = certificates.make("localhost", "127.0.0.1")
    tls = ServerTLS(*first, more=[certificates.make("*.example.com")])
    async with serving(Echo, "tls://127.0.0.1:0", tls=tls) as server:
        for name in ("localhost", "chat.example.com"):
            _, writer = await open_ssl(server, certificates.context(), name)
            writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await open_ssl(server, certificates.context(), "other.example")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_without_the_required_certificate_is_refused(
    certificates: Certificates, version: ssl.TLSVersion, caplog: pytest.LogCaptureFixture
) -> None:
    tls = ServerTLS(*certificates.make("localhost"), client_ca=certificates.ca)
    opened = []

    class Noting(Echo):
        def on_open(self, connection: vespiary.Connection) -> None:
            opened.append(connection.tls)

    async with serving(Noting, "tls://127.0.0.1:0", tls=tls) as server:
        context = certificates.context(maximum_version=version)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await ask(server, context)
        assert opened == []
        context.load_cert_chain(*certificates.make("somebody"))
        reader, writer = await open_ssl(server, context)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        (shown,) = opened
        assert shown is not None
        assert shown.peer_certificate is not None
        await until(lambda: "showed no certificate" in caplog.text)


async def ask(server: vespiary.Server, context: ssl.SSLContext) -> bytes:
    """Connect and speak: with TLS 1.3 a refusal comes behind the client's handshake."""
    reader, writer = await open_ssl(server, context)
    writer.write(b"hello")
    return await reader.readexactly(5)


async def test_a_client_may_show_a_certificate_where_it_is_optional(
    certificates: Certificates,
) -> None:
    tls = ServerTLS(
        *certificates.make("localhost"), client_ca=certificates.ca, client_certificate="optional"
    )
    certificate, key = certificates.make("somebody")
    with_one = ClientTLS(ca=certificates.ca, certificate=certificate, key=key)
    seen = []

    async def note(connection: vespiary.Connection) -> None:
        seen.append(connection.tls is not None and connection.tls.peer_certificate is not None)
        await connection.wait_closed()

    async with serving(note, "wss://localhost:0", tls=tls) as server:
        for client_tls in (ClientTLS(ca=certificates.ca), with_one):
            async with vespiary.connect(server.urls[0], tls=client_tls) as client:
                await client.ping()
    assert seen == [False, True]


async def test_an_unknown_authority_is_refused_on_both_sides(
    tls: ServerTLS, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = Certificates(tmp_path)
    async with serving(Echo, "wss://localhost:0", tls=tls) as server:
        with pytest.raises(vespiary.LocalError, match="server's certificate was refused") as caught:
            await vespiary.connect(server.urls[0], tls=ClientTLS(ca=other.ca))
        assert "localhost" in str(caught.value)
        await until(lambda: "ended TLS" in caplog.text)


async def test_by_default_the_authorities_of_this_machine_are_trusted(tls: ServerTLS) -> None:
    async with serving(Echo, "wss://localhost:0", tls=tls) as server:
        with pytest.raises(vespiary.LocalError, match="its authority is not trusted"):
            await vespiary.connect(server.urls[0])


async def test_a_server_with_another_name_is_refused_unless_that_is_wanted(
    certificates: Certificates,
) -> None:
    tls = ServerTLS(*certificates.make("chat.example.com"))
    async with serving(Echo, "wss://localhost:0", tls=tls) as server:
        with pytest.raises(vespiary.LocalError, match="localhost"):
            await vespiary.connect(server.urls[0], tls=ClientTLS(ca=certificates.ca))
        named = ClientTLS(ca=certificates.ca, server_name="chat.example.com")
        async with vespiary.connect(server.urls[0], tls=named) as client:
            await client.ping()


async def test_plain_text_to_a_tls_port_is_named_as_such(
    tls: ServerTLS, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Echo, "wss://127.0.0.1:0", tls=tls) as server:
        plain = server.urls[0].replace("wss:", "ws:")
        with pytest.raises((vespiary.ConnectionClosed, OSError)):
            await vespiary.connect(plain)
        await until(lambda: "does not speak TLS" in caplog.text)


async def test_a_plain_client_of_a_tls_server_gets_to_know_the_scheme(tls: ServerTLS) -> None:
    async with serving(Echo, "wss://localhost:0", tls=tls) as server:
        with pytest.raises(vespiary.LocalError, match=r"connect with wss://"):
            await vespiary.connect(server.urls[0].replace("wss:", "ws:"))


async def test_a_tls_client_of_a_plain_server_says_so(trusting: ClientTLS) -> None:
    async with serving(Echo) as server:
        url = server.urls[0].replace("ws:", "wss:")
        with pytest.raises(vespiary.LocalError, match="does not speak TLS"):
            await vespiary.connect(url, tls=trusting)


async def test_a_silent_peer_meets_the_handshakes_deadline(
    certificates: Certificates, tls: ServerTLS, trusting: ClientTLS
) -> None:
    short = vespiary.Deadlines(handshake_seconds=0.05)
    async with serving(Echo, "tls://127.0.0.1:0", tls=tls, deadlines=short) as server:
        reader, writer = await asyncio.open_connection(*address_of(server))
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(TimeoutError):
            await vespiary.connect(f"wss://localhost:{port}", tls=trusting, deadlines=short)


async def test_each_direction_ends_by_itself(
    certificates: Certificates, trusting: ClientTLS, tls: ServerTLS
) -> None:
    heard = []

    async def answer_at_the_end(connection: vespiary.Connection) -> None:
        heard.extend([message async for message in connection])
        connection.send(b"answer")
        connection.close()

    async with serving(answer_at_the_end, "tls://localhost:0", tls=tls, framing="line") as server:
        client = await vespiary.connect(
            server.urls[0], tls=trusting, framing="line", half_close=True
        )
        client.send(b"question")
        client.send_end()
        assert await client.receive() == b"answer"
        client.close()
        await client.wait_closed()
    assert heard == [b"question"]


async def test_a_stream_that_is_cut_is_not_taken_for_complete(
    certificates: Certificates, tls: ServerTLS
) -> None:
    closed: asyncio.Future[vespiary.CloseReason] = asyncio.get_running_loop().create_future()

    class Noting(Echo):
        def on_close(self, _: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            closed.set_result(reason)

    async with serving(Noting, "tls://127.0.0.1:0", tls=tls) as server:
        reader, writer = await open_ssl(server, certificates.context())
        writer.write(b"hello")
        await reader.readexactly(5)
        # A FIN without close_notify, beneath TLS. What uvloop calls a socket cannot shut down.
        transport = writer.transport
        descriptor = os.dup(transport.get_extra_info("socket").fileno())
        with socket.socket(fileno=descriptor) as raw:
            raw.shutdown(socket.SHUT_WR)
        reason = await closed
        assert reason.kind == "broken"
        assert "cut" in reason.text
        transport.abort()


@pytest.mark.parametrize("has_end", [True, False])
async def test_what_comes_with_the_end_of_the_handshake_is_delivered(
    certificates: Certificates, tls: ServerTLS, has_end: bool
) -> None:
    received: list[object] = []
    closed = asyncio.Event()

    class Noting(vespiary.Handler):
        def on_message(self, _: vespiary.Connection, message: bytes) -> None:
            received.append(message)

        def on_close(self, _: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            received.append(reason.kind)
            closed.set()

    async with serving(Noting, "tls://127.0.0.1:0", tls=tls, framing="line") as server:
        reader, writer = await asyncio.open_connection(*address_of(server))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = certificates.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65_536))
        client.write(b"the last line\n")
        if has_end:
            with pytest.raises(ssl.SSLWantReadError):
                client.unwrap()
        # Everything in one piece: the end of the handshake, data, and the end of the stream.
        writer.write(outgoing.read())
        writer.write_eof()
        await closed.wait()
        writer.close()
    assert received == [b"the last line", "closed" if has_end else "broken"]


async def test_garbage_within_a_connection_ends_it_with_an_alert(
    certificates: Certificates, tls: ServerTLS
) -> None:
    async with serving(Echo, "tls://127.0.0.1:0", tls=tls) as server:
        reader, writer = await asyncio.open_connection(*address_of(server))
        hello = client_hello()
        writer.write(hello)
        await reader.readexactly(5)
        writer.write(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        rest = await reader.read()
        # Two bytes, encrypted, as the last record: an alert (RFC 8446 section 6).
        assert rest[-24:-19] == b"\x17\x03\x03\x00\x13"
        writer.close()


def client_hello() -> bytes:
    """The first record of OpenSSL's client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = context.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    assert struct.unpack("!H", hello[3:5]) == (len(hello) - 5,)
    return hello


async def test_new_files_are_for_new_connections(
    certificates: Certificates, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"

    def install(files: tuple[Path, Path]) -> None:
        certificate.write_bytes(files[0].read_bytes())
        key.write_bytes(files[1].read_bytes())

    install(certificates.make("localhost", "127.0.0.1"))
    tls = ServerTLS(certificate, key)
    named = ClientTLS(ca=certificates.ca, server_name="new.example")
    async with (
        serving(Echo, "wss://localhost:0", tls=tls) as server,
        vespiary.connect(server.urls[0], tls=ClientTLS(ca=certificates.ca)) as before,
    ):
        certificate.write_text("not a certificate")
        with pytest.raises(vespiary.ConfigurationError, match=r"certificate\.pem"):
            tls.reload()
        install(certificates.make("localhost", "new.example"))
        tls.reload()
        async with vespiary.connect(server.urls[0], tls=named) as after:
            for client in (before, after):
                client.send("hello")
                assert await client.receive() == "hello"
        assert info(before).peer_certificate != info(after).peer_certificate


def info(connection: vespiary.Connection) -> vespiary.TLSInfo:
    """What TLS has agreed on, which it has."""
    assert connection.tls is not None
    return connection.tls


async def test_a_second_connection_resumes_the_session(tls: ServerTLS, trusting: ClientTLS) -> None:
    resumed = []
    async with serving(Echo, "wss://localhost:0", tls=tls) as server:
        for _ in range(3):
            async with vespiary.connect(server.urls[0], tls=trusting) as client:
                await client.ping()
                assert client.tls is not None
                resumed.append(client.tls.resumed)
    assert resumed == [False, True, True]


async def test_the_blocking_client_has_tls_too(tls: ServerTLS, trusting: ClientTLS) -> None:
    def talk(url: str) -> tuple[str | bytes, str | None]:
        with vespiary.sync.connect(url, tls=trusting) as client:
            client.send("hello")
            return client.receive(), client.tls.version if client.tls else None

    async with serving(Echo, "wss://localhost:0", tls=tls) as server:
        assert await asyncio.to_thread(talk, server.urls[0]) == ("hello", "TLSv1.3")


async def test_filters_see_plain_bytes(tls: ServerTLS, trusting: ClientTLS) -> None:
    seen = bytearray()

    class Watch(vespiary.Filter):
        def received(self, _: vespiary.Connection, data: bytes) -> bytes:
            seen.extend(data)
            return data

    async with (
        serving(Echo, "tls://localhost:0", tls=tls, filters=[Watch]) as server,
        vespiary.connect(server.urls[0], tls=trusting) as client,
    ):
        client.send(b"in the clear")
        assert await client.receive() == b"in the clear"
    assert bytes(seen) == b"in the clear"


async def test_a_stop_says_goodbye_through_tls(tls: ServerTLS, trusting: ClientTLS) -> None:
    server = vespiary.Server()
    server.add(Echo(), "wss://localhost:0", tls=tls)
    await server.start()
    client = await vespiary.connect(server.urls[0], tls=trusting)
    await asyncio.gather(server.stop(), client.wait_closed())
    assert client.close_reason is not None
    assert client.close_reason.code == 1001


async def test_endpoints_that_share_an_address_share_its_tls(
    certificates: Certificates, tls: ServerTLS, trusting: ClientTLS
) -> None:
    server = vespiary.Server()
    first = server.add(Echo(), "wss://127.0.0.1:9001/a", tls=tls)
    server.add(Echo(), "wss://127.0.0.1:9001/b", tls=tls)
    other = ServerTLS(*certificates.make("localhost"))
    for url, options in [
        ("wss://127.0.0.1:9001/c", {"tls": other}),
        ("ws://127.0.0.1:9001/c", {}),
    ]:
        with pytest.raises(vespiary.ConfigurationError, match="tls"):
            server.add(Echo(), url, **options)  # type: ignore[arg-type]
    assert first.is_secure
