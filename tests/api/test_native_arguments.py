"""The native methods of loops and transports take the arguments that asyncio's take."""

import asyncio
from typing import Any

import pytest

from vespiary.loop import Loop

from .transports import Recorder, pair

OF_LOOPS = (
    "call_soon",
    "call_at",
    "call_later",
    "create_future",
    "create_task",
    "get_debug",
    "time",
)
OF_TRANSPORTS = ("write", "pause_reading", "resume_reading", "is_closing")
ARGUMENTS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((), {"x": 1}),
    ((1,), {}),
    ((None,), {}),
    (("text",), {}),
    ((b"bytes",), {}),
    ((b"bytes",), {"x": 1}),
    ((b"bytes", 1), {}),
    ((), {"data": b"bytes"}),
    ((print,), {"x": 1}),
    ((print,), {"context": None, "x": 1}),
    ((print,), {"callback": print}),
    ((), {"callback": print}),
    ((1, print), {"x": 1}),
    ((1, print), {"context": None}),
    ((1,), {"callback": print}),
    ((None, print), {}),
    (([], print), {}),
    ((1, 2, 3, 4), {"x": 1}),
]


def _outcome(call: Any, arguments: tuple[Any, ...], names: dict[str, Any]) -> type | None:
    """The class of what a call raises. What it has scheduled is cancelled."""
    try:
        result = call(*arguments, **names)
    except Exception as error:
        return type(error)
    if hasattr(result, "cancel"):
        result.cancel()
    return None


def _transport(loop: asyncio.AbstractEventLoop) -> tuple[Any, Any]:
    ours, theirs = pair()
    transport, _ = loop.run_until_complete(loop.create_connection(Recorder, sock=ours))
    return transport, theirs


@pytest.mark.parametrize("name", OF_LOOPS)
def test_methods_of_the_loop_raise_what_asyncios_raise(loop: Loop, name: str) -> None:
    for arguments, names in ARGUMENTS:
        stock = asyncio.SelectorEventLoop()
        # asyncio compares a new timer's moment with those that are set.
        stock.call_later(3600, print)
        expected = _outcome(getattr(stock, name), arguments, names)
        assert _outcome(getattr(loop, name), arguments, names) == expected, (arguments, names)
        stock.close()


@pytest.mark.parametrize("name", OF_TRANSPORTS)
def test_methods_of_transports_raise_what_asyncios_raise(loop: Loop, name: str) -> None:
    stock = asyncio.SelectorEventLoop()
    theirs, their_peer = _transport(stock)
    ours, our_peer = _transport(loop)
    for arguments, names in ARGUMENTS:
        expected = _outcome(getattr(theirs, name), arguments, names)
        assert _outcome(getattr(ours, name), arguments, names) == expected, (arguments, names)
    for transport, peer, its in ((theirs, their_peer, stock), (ours, our_peer, loop)):
        transport.abort()
        peer.close()
        its.run_until_complete(asyncio.sleep(0))
    stock.close()
