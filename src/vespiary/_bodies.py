"""Bodies that come and go piece by piece, over `vespiary._core.Exchange`."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from vespiary._core import exchange_of

if TYPE_CHECKING:
    from vespiary._core import Connection, Exchange

__all__ = ["Pieces", "StreamedResponse", "is_pieces", "received", "send"]

Pieces = AsyncIterable[bytes] | Iterable[bytes]
"""A body as its pieces: an async iterable of bytes, such as an async generator, or a plain one."""

_NO_PIECES = (str, bytes, bytearray, memoryview, Mapping)
"""What can be iterated over, and is not meant as a body of pieces."""


def is_pieces(body: object) -> TypeGuard[Pieces]:
    """Whether a body comes in pieces."""
    is_plain = isinstance(body, Iterable) and not isinstance(body, _NO_PIECES)
    return is_plain or isinstance(body, AsyncIterable)


@dataclass(slots=True)
class StreamedResponse:
    """A response whose body comes in pieces, ready to be sent."""

    status: int
    headers: list[tuple[str, str]]
    pieces: Pieces


async def received(exchange: Exchange) -> AsyncIterator[bytes]:
    """The pieces of a request's body as they come.

    Raises:
        ConnectionClosed: the client went away before the end of the body.
    """
    while True:
        piece = exchange.receive()
        if piece is None:
            # What has come between the two lines is not missed: all of this runs in the loop.
            await exchange.changed()
        elif piece:
            yield piece
        else:
            return


async def send(connection: Connection, response: StreamedResponse) -> None:
    """Send a response, its pieces as they are made and as the client takes them.

    The iterator is closed at the end, however that comes.

    Raises:
        TypeError: a piece is not bytes.
        ValueError: a header cannot be sent.
        RuntimeError: the body is longer or shorter than its Content-Length.
        Exception: what the iterator raises. In all cases the response is not whole, and the
            connection must end.
    """
    exchange = exchange_of(connection)
    iterator, close = _iterator(response.pieces)
    try:
        if exchange.start(response.status, response.headers):
            async for piece in iterator:
                if not exchange.write(piece):
                    await _room(exchange)
                if exchange.is_disconnected:
                    return
        exchange.end()
    except BaseException:
        if exchange.is_started:
            exchange.abort()
        raise
    finally:
        if close is not None:
            await close()


async def _room(exchange: Exchange) -> None:
    while not exchange.is_writable:
        await exchange.changed()


def _iterator(pieces: Pieces) -> tuple[AsyncIterator[bytes], Callable[[], Any] | None]:
    """What to iterate over, and what closes it, if anything does."""
    if isinstance(pieces, AsyncIterable):
        iterator = aiter(pieces)
        return iterator, getattr(iterator, "aclose", None)
    plain = iter(pieces)
    return _stepped(plain), _closer(plain)


async def _stepped(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A plain iterator's pieces."""
    for piece in pieces:
        yield piece


def _closer(pieces: Iterator[bytes]) -> Callable[[], Any] | None:
    """What closes a generator; other iterators have nothing to close."""
    close = cast("Callable[[], object] | None", getattr(pieces, "close", None))
    if close is None:
        return None

    async def call() -> None:
        close()

    return call
