"""Statistics of every living object, and limits that show in them."""

import asyncio
import dataclasses
import socket
import struct

import pytest

import vespiary

from .kit import TCP, WS, Echo, Recorder, serving, until


async def test_an_endpoint_counts_what_its_connections_did() -> None:
    async with serving(Echo, TCP, framing="length") as server:
        async with (
            vespiary.connect(server.urls[0], framing="length") as one,
            vespiary.connect(server.urls[0], framing="length") as other,
        ):
            for client in (one, other):
                client.send(b"12345")
                await client.receive()
            (endpoint,) = server.statistics().endpoints
            assert endpoint.url == server.urls[0]
            assert endpoint.connections_open == endpoint.connections_accepted == 2
            assert endpoint.messages_received == endpoint.messages_sent == 2
            assert endpoint.bytes_received == endpoint.bytes_sent == 18
            assert endpoint.connections_closed == 0
        await until(lambda: server.statistics().total.connections_closed == 2)
        assert server.statistics().total.connections_open == 0
        assert server.statistics().total.connections_broken == 0


async def test_a_connection_counts_both_directions() -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: recorder.connections)
        connection = recorder.connections[0]
        client.send("four")
        await until(lambda: "message" in recorder.names)
        connection.send("sixsix")
        await client.receive()
        statistics = connection.statistics()
        assert statistics.messages_received == statistics.messages_sent == 1
        assert statistics.queued_bytes == 0
        assert 0 <= statistics.open_seconds < 10
        mirrored = client.statistics()
        assert mirrored.messages_sent == mirrored.messages_received == 1


async def test_totals_are_sums_over_endpoints() -> None:
    server = vespiary.Server()
    server.add(Echo, WS)
    server.add(Echo, TCP)
    async with server:
        for url in server.urls:
            async with vespiary.connect(url) as client:
                client.send(b"x")
                await client.receive()
        await until(lambda: server.statistics().total.connections_closed == 2)
        statistics = server.statistics()
        for field in dataclasses.fields(statistics.total):
            if isinstance(getattr(statistics.total, field.name), int):
                parts = [getattr(endpoint, field.name) for endpoint in statistics.endpoints]
                assert getattr(statistics.total, field.name) == sum(parts), field.name


async def test_the_port_tells_its_driver_and_its_work(driver: str) -> None:
    async with serving(Echo) as server:
        before = server.statistics()
        async with vespiary.connect(server.urls[0]) as client:
            client.send("x")
            await client.receive()
        after = server.statistics()
        assert after.port.driver == driver
        assert after.port.turns > before.port.turns
        assert after.port.system_calls > before.port.system_calls
        assert after.port.completions > before.port.completions
        # A loop's clock may stand still between two iterations.
        await until(lambda: server.statistics().running_seconds > before.running_seconds >= 0)


async def test_statistics_are_frozen_and_outlive_the_server() -> None:
    async with serving(Echo) as server:
        async with vespiary.connect(server.urls[0]) as client:
            client.send("x")
            await client.receive()
        snapshot = server.statistics()
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.running_seconds = 0.0  # type: ignore[misc]
    assert server.statistics().total.messages_received == 1


async def test_limits_that_are_reached_are_counted_and_told() -> None:
    told: list[tuple[str, float]] = []

    class Telling(Echo):
        def on_limit(self, name: str, value: float) -> None:
            told.append((name, value))

    limits = vespiary.Limits(connections_max=1, message_bytes_max=100)
    async with serving(Telling, limits=limits) as server:
        client = await vespiary.connect(server.urls[0])
        with pytest.raises((OSError, vespiary.VespiaryError)):
            await vespiary.connect(server.urls[0])
        client.send(bytes(101))
        assert (await client.wait_closed()).code == 1009
        await until(lambda: len(told) == 2)
        assert told == [("connections_max", 1), ("message_bytes_max", 100)]
        total = server.statistics().total
        assert total.limits_reached == {"connections_max": 1, "message_bytes_max": 1}
        assert sum(total.connections_refused.values()) == 1


async def test_an_exception_in_on_limit_is_logged_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(Echo):
        def on_limit(self, name: str, value: float) -> None:
            raise ZeroDivisionError

    limits = vespiary.Limits(message_bytes_max=100)
    async with serving(Failing, limits=limits) as server:
        client = await vespiary.connect(server.urls[0])
        client.send(bytes(101))
        assert (await client.wait_closed()).code == 1009
        async with vespiary.connect(server.urls[0]) as other:
            other.send("x")
            assert await other.receive() == "x"
    assert "ZeroDivisionError" in caplog.text


async def test_a_refusal_is_counted_by_its_status_whatever_the_client_does_then() -> None:
    async with serving(Echo, WS + "/here") as server:
        nowhere = server.urls[0].replace("/here", "/nowhere")
        for _ in range(5):
            with pytest.raises(vespiary.HandshakeRefused):
                await vespiary.connect(nowhere)
        host, port = server.urls[0].removeprefix("ws://").partition("/")[0].split(":")
        for _ in range(2):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.close()
        total = server.statistics
        await until(lambda: sum(total().total.connections_refused.values()) == 7)
        assert total().total.connections_refused == {"status_404": 7}
        assert total().total.requests_answered == {"404": 7}


async def test_broken_rules_are_counted() -> None:
    async with serving(Echo) as server:
        host, port = server.urls[0].removeprefix("ws://").rstrip("/").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x81\x01a")
        assert (await reader.read())[2:4] == (1002).to_bytes(2, "big")
        writer.close()
        await writer.wait_closed()
        await until(lambda: server.statistics().total.connections_closed)
        assert server.statistics().total.protocol_errors == 1
        assert server.statistics().total.connections_broken == 1


async def test_a_broken_limit_is_not_a_broken_rule(caplog: pytest.LogCaptureFixture) -> None:
    limits = vespiary.Limits(message_bytes_max=10)
    async with serving(Echo, limits=limits) as server:
        async with vespiary.connect(server.urls[0]) as client:
            client.send(bytes(11))
            assert (await client.wait_closed()).code == 1009
        await until(lambda: server.statistics().total.connections_closed)
        total = server.statistics().total
        assert total.limits_reached == {"message_bytes_max": 1}
        assert total.protocol_errors == 0
    assert "message_bytes_max" in caplog.text
