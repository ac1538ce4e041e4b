"""The conformance kit for filters: what every well-behaved filter satisfies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from vespiary._core import Connection
from vespiary._faults import Faults
from vespiary.errors import ConnectionClosed
from vespiary.filters import Filter, FilterFactory
from vespiary.handler import Handler
from vespiary.server import Server
from vespiary.testing._conversation import (
    BYTE_BY_BYTE,
    HARSH,
    LOSSLESS,
    Ending,
    converse,
    serving,
    shown,
    watch_log,
)
from vespiary.testing._simulation import run

__all__ = ["FilterFault", "check_filter"]

DATA: tuple[bytes, ...] = (b"hello\r\n", b"\x00\xff\r\n", bytes(range(256)), b"x" * 5000, b"bye")
"""What goes through a filter by default."""
URL = "tcp://127.0.0.1:7"


class FilterFault(AssertionError):
    """A filter does not satisfy a check; the text says which, with the seed to repeat it."""


def check_filter(
    factory: FilterFactory,
    *,
    peer: FilterFactory | None = None,
    data: Sequence[bytes] | None = None,
    seeds: int = 10,
) -> None:
    """Try what every filter must satisfy, in a simulated network.

    1. The factory makes a new filter for each connection.
    2. However the network cuts and delays the bytes, the same bytes arrive behind the filter.
    3. Connections side by side do not disturb one another.
    4. With `peer`: each end receives the bytes that the other end sends.
    5. No exception is raised, even when the peer resets the connection at any moment.

    Args:
        factory: What `filters=` takes.
        peer: The filter of the other end, which undoes what this one does.
        data: What the other end sends. Default: texts and every byte.
        seeds: How many seeds to try for each kind of fault.

    Raises:
        FilterFault: the first check that fails.
    """
    _check_factory(factory)
    pieces = data or DATA
    check = _Check(factory, peer, pieces)
    expected, echoed = check.run("one connection", 0, None)[0]
    whole = b"".join(pieces)
    if peer is not None and (expected, echoed) != (whole, whole):
        raise FilterFault(
            f"one connection: {shown(whole)} was sent, {shown(expected)} arrived after the "
            f"filters, and {shown(echoed)} came back"
        )
    for seed in range(seeds):
        faults = BYTE_BY_BYTE if seed == 0 else LOSSLESS
        for arrived, came_back in check.run("bytes cut and delayed", seed, faults):
            _compare("bytes cut and delayed", seed, arrived, expected)
            if peer is not None:
                _compare("bytes cut and delayed, sent back", seed, came_back, echoed)
    for arrived, _ in check.run("connections side by side", 0, None, connections=3):
        _compare("connections side by side", 0, arrived, expected)
    for seed in range(seeds):
        check.run("connections that are reset", seed, HARSH, connections=2)


def _check_factory(factory: FilterFactory) -> None:
    first, second = factory(), factory()
    for made in (first, second):
        if not isinstance(made, Filter):
            raise FilterFault(f"the factory must make a vespiary.Filter; it made {made!r}")
    if first is second:
        raise FilterFault("the factory must make a new filter for each connection")


def _compare(what: str, seed: int, arrived: bytes, expected: bytes) -> None:
    if arrived != expected:
        raise FilterFault(
            f"{what} (seed {seed}): {shown(arrived)} arrived, and not {shown(expected)}"
        )


class _Recorder(Handler[bytes]):
    """Keeps what arrives behind the filter, and sends it back."""

    def __init__(self) -> None:
        self.arrived: dict[Connection[bytes], bytes] = {}

    def on_open(self, connection: Connection[bytes]) -> None:
        self.arrived[connection] = b""

    def on_message(self, connection: Connection[bytes], message: bytes) -> None:
        self.arrived[connection] += message
        connection.send(message)


class _Check:
    """A filter, and what is sent through it."""

    def __init__(
        self, factory: FilterFactory, peer: FilterFactory | None, pieces: Sequence[bytes]
    ) -> None:
        self._factory = factory
        self._peers = [] if peer is None else [peer]
        self._pieces = pieces

    def run(
        self, what: str, seed: int, faults: Faults | None, connections: int = 1
    ) -> list[tuple[bytes, bytes]]:
        """Send everything on some connections; what arrived and what came back, for each."""
        ending = Ending()
        recorder = _Recorder()

        async def talk(url: str) -> bytes:
            heard = await converse(url, self._pieces, {"filters": self._peers})
            return b"".join(part for part in heard if isinstance(part, bytes))

        async def main() -> list[Any]:
            server = Server()
            server.add(recorder, URL, filters=[self._factory])
            async with serving(server, ending) as url:
                talks = (talk(url) for _ in range(connections))
                return await asyncio.gather(*talks, return_exceptions=True)

        with watch_log() as log:
            heard = run(main(), seed=seed, faults=faults, timeout=None)
        for text in [*log.errors, *ending.faults()]:
            raise FilterFault(f"{what} (seed {seed}): {text}")
        if faults is HARSH:
            return []
        for failed in heard:
            if isinstance(failed, BaseException) and not isinstance(failed, ConnectionClosed):
                raise failed
        arrived = list(recorder.arrived.values())
        came_back = [b"" if isinstance(one, BaseException) else one for one in heard]
        return list(zip(arrived, came_back, strict=True))
