"""What programs do with a client, and have reported as faults of other libraries' clients."""

import asyncio
import contextlib
import socket

import pytest

import vespiary
from vespiary.request import Headers

from .kit import TCP, Echo, Recorder, echo, serving, turns, until
from .test_client_handshake import accepted, bare


async def test_a_receive_that_times_out_within_a_message_loses_nothing() -> None:
    async with bare() as (told, url), vespiary.connect(url) as client:
        await until(lambda: told.writers)
        writer = told.writers[0]
        writer.write(b"\x81\x0ahello")
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await client.receive(timeout=0.01)
        writer.write(b"world\x81\x02ok")
        assert await client.receive(timeout=5) == "helloworld"
        assert await client.receive() == "ok"


async def test_a_receive_that_is_cancelled_loses_nothing() -> None:
    async with serving(echo) as server, vespiary.connect(server.urls[0]) as client:
        for number in range(50):
            receiving = asyncio.ensure_future(client.receive())
            await asyncio.sleep(0)
            client.send(str(number))
            if number % 2:
                receiving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await receiving
                assert await client.receive() == str(number)
            else:
                assert await receiving == str(number)


@pytest.mark.parametrize("scheme", ["ws", "tcp"])
async def test_send_to_a_peer_that_is_gone_raises(scheme: str) -> None:
    recorder = Recorder()
    async with serving(recorder, f"{scheme}://127.0.0.1:0") as server:
        client = await vespiary.connect(server.urls[0])
        await until(lambda: recorder.connections)
        recorder.connections[0].abort()

        async def send_on() -> None:
            while True:
                client.send("x")
                await turns(1)

        with pytest.raises(vespiary.RemoteError):
            await send_on()
        with pytest.raises(vespiary.RemoteError):
            await client.send("x")
        with pytest.raises(vespiary.RemoteError):
            await client.receive()


async def test_send_can_be_awaited_for_backpressure() -> None:
    """`await send()` waits while the peer does not read, and goes on when it does."""
    release = asyncio.Event()

    async def late(connection: vespiary.Connection) -> None:
        connection.pause_reading()
        await release.wait()
        connection.resume_reading()
        async for _ in connection:
            pass

    async with serving(late) as server, vespiary.connect(server.urls[0]) as client:
        message = b"x" * 60_000

        async def send_all() -> None:
            for _ in range(400):
                await client.send(message)

        sending = asyncio.ensure_future(send_all())
        await until(lambda: client.queued_bytes > 64 << 10)
        assert client.queued_bytes < 1 << 20
        assert not sending.done()
        release.set()
        await sending


async def test_the_answers_header_fields_stay_readable_after_the_end() -> None:
    lines = ("X-Session: 7", "Set-Cookie: a=b")
    async with bare(lambda headers: accepted(headers, *lines)) as (_, url):
        async with vespiary.connect(url) as client:
            assert client.response_headers["x-session"] == "7"
        assert client.response_headers.get_all("set-cookie") == ["a=b"]
        assert client.request is None
    async with serving(echo, TCP) as server, vespiary.connect(server.urls[0]) as stream:
        assert len(stream.response_headers) == 0


async def test_a_ping_gives_the_latency() -> None:
    async with serving(echo) as server, vespiary.connect(server.urls[0]) as client:
        for payload in (b"", b"x" * 125):
            latency = await client.ping(payload)
            assert 0 <= latency < 5
        # Ignoring one is fine, and so is awaiting one twice, late, or with a timeout.
        client.ping()
        ping = client.ping()
        assert await asyncio.wait_for(ping, 5) == await ping
        with pytest.raises(ValueError, match="125"):
            client.ping(b"x" * 126)


async def test_a_pong_answers_the_pings_before_it_and_no_other() -> None:
    async with bare() as (told, url), vespiary.connect(url) as client:
        await until(lambda: told.writers)
        pings = [client.ping(name) for name in (b"a", b"b", b"c")]
        waiting = [asyncio.ensure_future(ping) for ping in pings]
        told.writers[0].write(b"\x8a\x01x\x8a\x00\x8a\x01b")
        await asyncio.wait(waiting[:2])
        assert [one.done() for one in waiting] == [True, True, False]
        waiting[2].cancel()
        told.writers[0].write(b"\x8a\x01c")
        assert await pings[2] >= 0


async def test_a_ping_ends_with_its_connection() -> None:
    async with bare() as (told, url):
        client = await vespiary.connect(url)
        awaited = asyncio.ensure_future(client.ping())
        late = client.ping()
        await until(lambda: told.writers)
        await asyncio.sleep(0)
        told.writers[0].transport.abort()
        with pytest.raises(vespiary.RemoteError):
            await awaited
        with pytest.raises(vespiary.RemoteError):
            await late
        with pytest.raises(vespiary.RemoteError):
            client.ping()


async def test_pings_that_nobody_answers_are_bounded() -> None:
    async with bare() as (_, url), vespiary.connect(url) as client:
        for _ in range(1000):
            client.ping()
        with pytest.raises(vespiary.SendRefused, match="1000 pings"):
            client.ping()


async def test_close_can_be_awaited_for_the_reason() -> None:
    async with serving(echo) as server:
        client = await vespiary.connect(server.urls[0])
        reason = await client.close(1001, "enough")
        assert (reason.side, reason.code, reason.text) == ("local", 1001, "enough")
        assert await client.close() == reason


async def test_a_message_beyond_this_ends_limit_names_the_limit() -> None:
    class Large(Echo):
        def on_open(self, connection: vespiary.Connection) -> None:
            connection.send("x" * 2000)

    async with serving(Large) as server:
        limits = vespiary.Limits(message_bytes_max=1000)
        async with vespiary.connect(server.urls[0], limits=limits) as client:
            with pytest.raises(vespiary.LocalError, match="message_bytes_max is 1000"):
                await client.receive()


async def test_a_proxy_that_cuts_silent_connections_lets_one_that_pings_live() -> None:
    """Pings come each interval, also while the peer answers none for a while."""
    pings: list[float] = []
    loop = asyncio.get_running_loop()

    def listen() -> socket.socket:
        return socket.create_server(("127.0.0.1", 0))

    with listen() as listener:
        listener.setblocking(False)
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        deadlines = vespiary.Deadlines(ping_interval_seconds=0.2, ping_timeout_seconds=1.1)
        connecting = asyncio.ensure_future(vespiary.connect(url, deadlines=deadlines)._connect())
        server, _ = await loop.sock_accept(listener)
        server.setblocking(False)
        with server:
            head = await loop.sock_recv(server, 4096)
            key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0].decode()
            await loop.sock_sendall(server, accepted(Headers([("sec-websocket-key", key)])))
            client = await connecting
            began = loop.time()
            with contextlib.suppress(ConnectionResetError):
                while data := await loop.sock_recv(server, 4096):
                    pings += [loop.time()] * data.count(b"\x89\x80")
            reason = await client.wait_closed()
            took = loop.time() - began
        assert "ping_timeout_seconds" in reason.text
        assert len(pings) >= 4
        assert 1.2 < took < 4


@pytest.mark.parametrize("limit", ["ping_timeout_seconds", "data_seconds"])
async def test_who_waits_for_a_server_that_stopped_gets_an_error(limit: str) -> None:
    """Also where every connection that follows stops too."""
    deadlines = vespiary.Deadlines(
        ping_interval_seconds=0.05,
        ping_timeout_seconds=0.2 if limit == "ping_timeout_seconds" else 60,
        data_seconds=0.3 if limit == "data_seconds" else None,
        close_seconds=0.1,
    )
    ends = []
    async with bare() as (_, url):
        backoff = vespiary.Backoff(first_seconds=0.01)
        async for client in vespiary.connect(url, deadlines=deadlines, reconnect=backoff):
            try:
                async for _ in client:
                    pass
            except vespiary.LocalError as error:
                ends.append(error)
            if len(ends) == 3:
                break
    assert all(limit in str(error) for error in ends)
