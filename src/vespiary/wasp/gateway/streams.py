"""Gateways for streams: TCP to TCP, and WebSocket to TCP."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import vespiary
from vespiary.wasp.gateway.upstreams import Upstream, Upstreams, UpstreamStatistics

__all__ = ["StreamGateway", "carry_back", "close_code"]

BAD_GATEWAY = 1014
_NO_STATUS, _ABNORMAL = 1005, 1006
_REASON_BYTES_MAX = 123


class StreamGateway:
    """Carries bytes between clients and servers, in both directions, with backpressure.

    A stream of TCP may end in one direction, and continue in the other. A WebSocket has no such
    end: it is closed with 1000 when the server has finished sending. Each binary message, and each
    text as UTF-8, is a piece of the stream, and each piece of the server's stream is a binary
    message.
    """

    def __init__(self, upstreams: list[Upstream]) -> None:
        self._upstreams = Upstreams(upstreams)

    def upstream_statistics(self) -> list[UpstreamStatistics]:
        """What each server has counted."""
        return self._upstreams.statistics()

    async def __call__(self, client: vespiary.Connection[Any]) -> None:
        """One connection's life."""
        found = await self._connect()
        if found is None:
            if client.version is None:
                client.abort()
            else:
                client.close(BAD_GATEWAY, "no server behind is available")
            return
        upstream, behind = found
        upstream.active += 1
        try:
            async with asyncio.TaskGroup() as directions:
                directions.create_task(_carry(client, behind))
                directions.create_task(_carry(behind, client))
        except* vespiary.ConnectionClosed:
            # One end is gone: the other one must not take that for a good end.
            behind.abort()
            if client.version is None:
                client.abort()
            else:
                client.close(BAD_GATEWAY, "the server behind broke off")
        finally:
            upstream.active -= 1
            behind.close()

    async def _connect(self) -> tuple[Upstream, vespiary.Connection[Any]] | None:
        tried: list[Upstream] = []
        while True:
            upstream = self._upstreams.choose(tried)
            if upstream is None:
                return None
            upstream.requests += 1
            try:
                behind = await upstream.connect(half_close=True)
            except (OSError, vespiary.VespiaryError) as error:
                upstream.failed(str(error) or type(error).__name__)
                tried.append(upstream)
            else:
                upstream.succeeded()
                return upstream, behind


async def _carry(source: vespiary.Connection[Any], target: vespiary.Connection[Any]) -> None:
    """Carry one direction, and then its end.

    Raises:
        ConnectionClosed: one of the two has broken.
    """
    async for message in source:
        target.send(message if target.version is not None else _encoded(message))
        await target.drain()
    if source.version is not None:
        # The client has closed its WebSocket, and wants nothing more.
        target.close()
    elif target.version is not None:
        target.close(1000)
    elif target.is_open:
        target.send_end()


def _encoded(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


async def carry_back(source: vespiary.Connection[Any], target: vespiary.Connection[Any]) -> None:
    """Carry the messages of a WebSocket to another one, and then its close code."""
    with contextlib.suppress(vespiary.ConnectionClosed):
        async for message in source:
            target.send(message)
            await target.drain()
    reason = source.close_reason
    if reason is not None:
        target.close(*close_code(reason))


def close_code(reason: vespiary.CloseReason) -> tuple[int, str]:
    """Return the code and the text with which the other WebSocket is closed."""
    if reason.code is None or reason.code == _ABNORMAL:
        return BAD_GATEWAY, "the other end broke off"
    code = 1000 if reason.code == _NO_STATUS else reason.code
    return code, reason.text.encode()[:_REASON_BYTES_MAX].decode(errors="ignore")
