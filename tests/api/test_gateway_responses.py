"""Responses that gateways get: what comes behind one, or breaks off."""

import functools
from typing import Any

import pytest

from tests.logs import records

from .gateways import GET, Raw, asked, before_raw
from .kit import streams, until


async def test_what_a_server_sends_behind_a_response_is_not_the_next_one() -> None:
    """RFC 9112 section 9.2: data without a request is not a response to the next one."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    raw = Raw([answer + answer.replace(b"ok", b"no")] * 3)
    async with before_raw(raw) as (server, _):
        for _ in range(3):
            assert (await asked(server, GET, b"ok")).endswith("ok")
        assert raw.connections == 3


def _is_spoilt(kept: Any) -> bool:
    return not kept.is_usable


async def test_what_comes_on_a_kept_connection_is_not_the_next_response() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    raw = Raw([answer] * 3)
    async with before_raw(raw) as (server, proxy):
        for number in range(1, 4):
            assert (await asked(server, GET, b"ok")).endswith("ok")
            assert raw.latest is not None
            raw.latest.send(late)
            [pool] = proxy._pools.values()
            [kept] = pool._idle
            await until(functools.partial(_is_spoilt, kept))
            assert raw.connections == number


async def test_a_response_that_breaks_off_is_a_reset(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    raw = Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"], closes=True)
    async with before_raw(raw) as (server, proxy), streams(server) as (reader, writer):
        writer.write(GET)
        with pytest.raises(ConnectionResetError):
            await reader.read(-1)
        assert proxy.upstream_statistics()[0].failures == 1
    assert "Upstream failed: http://" in caplog.text
    assert "the response broke off: " in caplog.text
    assert not any(record.exc_info for record in records(caplog))
