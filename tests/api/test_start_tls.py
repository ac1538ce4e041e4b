"""STARTTLS: TLS that begins on a living connection, at either end, and what must not pass it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

import vespiary
from vespiary import ClientTLS, ServerTLS

from .certificates import Certificates
from .kit import TCP, WS, Echo, Recorder, serving, until

pytestmark = pytest.mark.filterwarnings("ignore:ssl.*deprecated:DeprecationWarning")


class Starting(vespiary.Handler):
    """Answers STARTTLS and begins; sends everything else back."""

    def __init__(self, tls: ServerTLS) -> None:
        self.tls = tls
        self.heard: list[bytes] = []
        self.reasons: list[vespiary.CloseReason] = []

    def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
        self.heard.append(message)
        if message == b"STARTTLS":
            connection.send("ready")
            connection.start_tls(self.tls)
        else:
            connection.send(message)

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        self.reasons.append(reason)


def coroutine(tls: ServerTLS, infos: list[vespiary.TLSInfo]) -> vespiary.handler.AsyncHandler:
    async def starting(connection: vespiary.Connection[bytes]) -> None:
        async for message in connection:
            if message == b"STARTTLS":
                connection.send("ready")
                infos.append(await connection.start_tls(tls))
            else:
                connection.send(message)

    return starting


def address_of(server: vespiary.Server) -> tuple[str, int]:
    endpoint = vespiary.Endpoint.parse(server.urls[0])
    return endpoint.host, endpoint.port


@asynccontextmanager
async def streams(
    server: vespiary.Server,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address_of(server))
    try:
        yield reader, writer
    finally:
        writer.close()


async def test_both_ends_continue_with_tls(tls: ServerTLS, trusting: ClientTLS) -> None:
    handler = Starting(tls)
    async with (
        serving(handler, TCP, framing="line") as server,
        vespiary.connect(server.urls[0], framing="line") as client,
    ):
        client.send("plain")
        assert await client.receive() == b"plain"
        assert not client.tls
        client.send("STARTTLS")
        assert await client.receive() == b"ready"
        info = await client.start_tls(trusting)
        known: vespiary.TLSInfo | None = client.tls
        assert info == known
        assert info.version == "TLSv1.3"
        assert info.server_name == "127.0.0.1"
        for message in [b"a", b"b" * 100_000, b"c"]:
            client.send(message)
            assert await client.receive() == message
    assert handler.heard[:2] == [b"plain", b"STARTTLS"]


async def test_a_coroutine_awaits_what_was_agreed_on(tls: ServerTLS, trusting: ClientTLS) -> None:
    infos: list[vespiary.TLSInfo] = []
    async with (
        serving(coroutine(tls, infos), TCP, framing="line") as server,
        vespiary.connect(server.urls[0], framing="line") as client,
    ):
        client.send("STARTTLS")
        assert await client.receive() == b"ready"
        # What is sent before the end of the handshake waits for it.
        starting = client.start_tls(trusting)
        client.send("at once")
        assert await client.receive() == b"at once"
        assert await starting == client.tls
    assert [info.version for info in infos] == ["TLSv1.3"]


async def test_another_client_starts_tls_and_sees_its_end(
    tls: ServerTLS, certificates: Certificates
) -> None:
    handler = Starting(tls)
    async with serving(handler, TCP, framing="crlf") as server, streams(server) as (reader, writer):
        writer.write(b"STARTTLS\r\n")
        assert await reader.readline() == b"ready\r\n"
        await writer.start_tls(certificates.context(), server_hostname="localhost")
        writer.write(b"secret\r\n")
        assert await reader.readline() == b"secret\r\n"
    assert handler.heard == [b"STARTTLS", b"secret"]


@pytest.mark.parametrize("rest", [b"DELETE\n", b"DEL", b"\x16\x03\x01"])
@pytest.mark.parametrize("form", ["methods", "coroutine"])
async def test_what_a_client_sends_behind_starttls_in_plain_is_refused(
    tls: ServerTLS, form: str, rest: bytes
) -> None:
    handler = Starting(tls)
    infos: list[vespiary.TLSInfo] = []
    chosen = handler if form == "methods" else coroutine(tls, infos)
    async with serving(chosen, TCP, framing="line") as server, streams(server) as (reader, writer):
        writer.write(b"STARTTLS\n" + rest)
        with contextlib.suppress(ConnectionError):
            # At most the answer, and then the end.
            assert await reader.read() in (b"", b"ready\n")
        await until(lambda: server.statistics().total.connections_closed == 1)
        total = server.statistics().total
        assert (total.protocol_errors, total.connections_broken) == (1, 1)
    assert handler.heard in ([], [b"STARTTLS"])
    assert infos == []


async def test_what_a_server_sends_behind_its_answer_in_plain_is_refused(
    trusting: ClientTLS,
) -> None:
    class Injecting(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
            connection.send("ready")
            connection.send("injected")

    async with (
        serving(Injecting, TCP, framing="line") as server,
        vespiary.connect(server.urls[0], framing="line") as client,
    ):
        client.send("STARTTLS")
        assert await client.receive() == b"ready"
        await until(lambda: client.statistics().messages_received == 2)
        with pytest.raises(vespiary.LocalError, match="without waiting for the handshake"):
            await client.start_tls(trusting)
        with pytest.raises(vespiary.LocalError):
            client.send("x")


async def test_plain_bytes_instead_of_a_handshake_end_the_connection(tls: ServerTLS) -> None:
    handler = Starting(tls)
    async with serving(handler, TCP, framing="line") as server, streams(server) as (reader, writer):
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"ready\n"
        writer.write(b"DELETE everything\n")
        # The end that the server sends comes behind its alert.
        await reader.read()
        writer.close()
        await until(lambda: handler.reasons)
    assert handler.heard == [b"STARTTLS"]


async def test_the_handshake_has_its_deadline(tls: ServerTLS) -> None:
    handler = Starting(tls)
    deadlines = vespiary.Deadlines(handshake_seconds=0.05)
    async with (
        serving(handler, TCP, framing="line", deadlines=deadlines) as server,
        streams(server) as (reader, writer),
    ):
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"ready\n"
        await until(lambda: handler.reasons)
        assert server.statistics().total.limits_reached == {"handshake_seconds": 1}
    assert handler.reasons[0].kind == "broken"


async def test_a_certificate_that_is_not_trusted_ends_both_ends(tls: ServerTLS) -> None:
    handler = Starting(tls)
    async with (
        serving(handler, TCP, framing="line") as server,
        vespiary.connect(server.urls[0], framing="line") as client,
    ):
        client.send("STARTTLS")
        assert await client.receive() == b"ready"
        with pytest.raises(vespiary.ConnectionBroken, match="certificate"):
            await client.start_tls(ClientTLS())
        await until(lambda: handler.reasons)
    assert handler.heard == [b"STARTTLS"]


async def test_what_cannot_be_started_is_an_error_that_says_why(
    tls: ServerTLS, trusting: ClientTLS
) -> None:
    recorder = Recorder()
    async with serving(recorder, TCP) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: recorder.connections)
        connection = recorder.connections[0]
        with pytest.raises(vespiary.ConfigurationError, match="a ServerTLS"):
            connection.start_tls(trusting)
        with pytest.raises(vespiary.ConfigurationError, match="a ServerTLS"):
            connection.start_tls()
        with pytest.raises(vespiary.ConfigurationError, match="a ClientTLS"):
            client.start_tls(tls)
        with pytest.raises(RuntimeError, match=r"start_tls\(\) works only on the thread"):
            await asyncio.to_thread(connection.start_tls, tls)
    with pytest.raises(vespiary.ConnectionClosed):
        connection.start_tls(tls)
    async with serving(Echo, WS) as server, vespiary.connect(server.urls[0]) as client:
        with pytest.raises(vespiary.ConfigurationError, match=r"is for tcp:// and unix://"):
            client.start_tls(trusting)


class Upgrading(vespiary.Handler):
    """Answers STARTTLS, begins, and does `then` at once."""

    def __init__(
        self, tls: ServerTLS, then: Callable[[vespiary.Connection[bytes]], object]
    ) -> None:
        self.tls = tls
        self.then = then
        self.heard: list[bytes] = []
        self.reasons: list[vespiary.CloseReason] = []

    def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
        self.heard.append(message)
        if message == b"STARTTLS":
            connection.send("ready")
            connection.start_tls(self.tls)
            self.then(connection)

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        self.reasons.append(reason)


def send_much(connection: vespiary.Connection[bytes]) -> None:
    """Queue more than `write_high_bytes` (64 KiB)."""
    connection.send(b"y" * 70_000)
    connection.send(b"z" * 70_000)


class Publishing(Upgrading):
    """The same with `publish`."""

    def __init__(self, tls: ServerTLS) -> None:
        super().__init__(tls, self.publish_much)

    async def on_start(self, server: vespiary.Server) -> None:
        self.server = server

    def publish_much(self, connection: vespiary.Connection[bytes]) -> None:
        connection.subscribe("news")
        self.server.publish("news", b"y" * 70_000)
        self.server.publish("news", b"z" * 70_000)


@pytest.mark.parametrize("make", [lambda tls: Upgrading(tls, send_much), Publishing])
async def test_more_than_the_write_queue_should_hold_waits_for_a_servers_handshake(
    tls: ServerTLS, trusting: ClientTLS, make: Callable[[ServerTLS], Upgrading]
) -> None:
    handler = make(tls)
    async with (
        serving(handler, TCP, framing="length") as server,
        vespiary.connect(server.urls[0], framing="length") as client,
    ):
        client.send("STARTTLS")
        assert await client.receive() == b"ready"
        await client.start_tls(trusting)
        assert await client.receive() == b"y" * 70_000
        assert await client.receive() == b"z" * 70_000
        client.send("more")
        await until(lambda: handler.heard == [b"STARTTLS", b"more"])


async def test_more_than_the_write_queue_should_hold_waits_for_a_clients_handshake(
    tls: ServerTLS, trusting: ClientTLS
) -> None:
    handler = Starting(tls)
    async with (
        serving(handler, TCP, framing="length") as server,
        vespiary.connect(server.urls[0], framing="length") as client,
    ):
        client.send("STARTTLS")
        assert await client.receive() == b"ready"
        starting = client.start_tls(trusting)
        send_much(client)
        assert await client.receive() == b"y" * 70_000
        assert await client.receive() == b"z" * 70_000
        await starting


async def test_the_handshake_goes_on_while_reading_is_paused(
    tls: ServerTLS, trusting: ClientTLS
) -> None:
    connections: list[vespiary.Connection[bytes]] = []

    def pause(connection: vespiary.Connection[bytes]) -> None:
        connection.pause_reading()
        connections.append(connection)

    handler = Upgrading(tls, pause)
    async with (
        serving(handler, TCP, framing="line") as server,
        vespiary.connect(server.urls[0], framing="line") as client,
    ):
        client.send("STARTTLS")
        assert await client.receive() == b"ready"
        await client.start_tls(trusting)
        client.send("more")
        await until(lambda: connections[0].tls is not None)
        assert handler.heard == [b"STARTTLS"]
        connections[0].resume_reading()
        await until(lambda: handler.heard == [b"STARTTLS", b"more"])


@pytest.mark.parametrize("is_last", [True, False], ids=["nothing queued", "a message queued"])
@pytest.mark.parametrize("end", [vespiary.Connection.send_end, vespiary.Connection.close])
async def test_the_end_comes_behind_the_handshake(
    tls: ServerTLS,
    certificates: Certificates,
    end: Callable[[vespiary.Connection[bytes]], object],
    is_last: bool,
) -> None:
    def then(connection: vespiary.Connection[bytes]) -> None:
        if not is_last:
            connection.send("bye")
        end(connection)

    handler = Upgrading(tls, then)
    async with serving(handler, TCP, framing="line") as server, streams(server) as (reader, writer):
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"ready\n"
        await writer.start_tls(certificates.context(), server_hostname="localhost")
        assert await reader.read() == (b"" if is_last else b"bye\n")
        writer.close()
        await until(lambda: handler.reasons)
    assert [reason.kind for reason in handler.reasons] == ["closed"]


@pytest.mark.parametrize("end", [vespiary.Connection.send_end, vespiary.Connection.close])
async def test_a_client_that_fails_the_handshake_before_the_end_is_not_waited_for(
    tls: ServerTLS, end: Callable[[vespiary.Connection[bytes]], object]
) -> None:
    handler = Upgrading(tls, end)
    async with serving(handler, TCP, framing="line") as server, streams(server) as (reader, writer):
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"ready\n"
        writer.write(b"DELETE everything\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        await until(lambda: handler.reasons)
    assert "TLS" in handler.reasons[0].text


async def test_tls_does_not_begin_where_nothing_more_is_sent(tls: ServerTLS) -> None:
    recorder = Recorder()
    async with serving(recorder, TCP) as server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        recorder.connections[0].send_end()
        with pytest.raises(vespiary.SendRefused, match=r"send_end\(\) was called"):
            recorder.connections[0].start_tls(tls)


async def test_tls_is_started_once(tls: ServerTLS, trusting: ClientTLS) -> None:
    async with (
        serving(Starting(tls), TCP, framing="line") as server,
        vespiary.connect(server.urls[0], framing="line") as client,
    ):
        client.send("STARTTLS")
        assert await client.receive() == b"ready"
        await client.start_tls(trusting)
        with pytest.raises(vespiary.SendRefused, match="uses TLS already"):
            client.start_tls(trusting)


@pytest.mark.parametrize(
    ("options", "text"),
    [({"filters": [vespiary.Filter]}, "filters="), ({"executor": "threads"}, "threads")],
)
async def test_endpoints_that_cannot_start_tls_say_so(
    tls: ServerTLS, options: dict[str, object], text: str
) -> None:
    recorder = Recorder()
    async with serving(recorder, TCP, **options) as server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        with pytest.raises(vespiary.SendRefused, match=text):
            recorder.connections[0].start_tls(tls)
