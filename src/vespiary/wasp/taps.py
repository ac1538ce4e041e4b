"""A live tap: what passes on one connection, as records for a person to read.

The engine records what passes, up to a number of records, and drops what is beyond: a tap never
makes the connection wait (see `crates/python/src/tap.rs`). Here the records are collected ten times
per second, and written for a person: the time, the direction, the size, and a preview of the first
bytes as text, or as hexadecimal numbers if they are not text.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from vespiary._core import tap_connection
from vespiary._counted import counted
from vespiary.wasp.worker_calls import Refused

if TYPE_CHECKING:
    from vespiary._core import Connection

__all__ = ["TapOptions", "tapped"]

_COLLECT_SECONDS = 0.1
_WAITING_MAX = 1000
"""Records that wait until they are collected: 10,000 per second are shown, and 1 MB is the most
that a tap holds."""


class TapOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a tap shows, and when it ends.

    Attributes:
        seconds: How long it lasts.
        records: After how many records it ends.
        preview: How many of the first bytes of a record are shown.
    """

    seconds: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    records: Annotated[int, Meta(ge=1, le=100_000)] = 10_000
    preview: Annotated[int, Meta(ge=0, le=1024)] = 64

    @classmethod
    def parse(cls, texts: dict[str, str]) -> TapOptions:
        """Read options; empty texts are ignored.

        Raises:
            Refused: a name or a value is not valid.
        """
        given = {name: text for name, text in texts.items() if text != ""}
        try:
            return msgspec.convert(given, cls, strict=False)
        except msgspec.ValidationError as error:
            raise Refused(f"{error}; there are {', '.join(cls.__struct_fields__)}") from None


async def tapped(connection: Connection, options: TapOptions) -> AsyncGenerator[dict[str, Any]]:
    """Iterate over what passes on a connection.

    An item is a record, or has `dropped` with how many were dropped since the last one, or `end`
    with the reason why the tap ends.

    Raises:
        Refused: the connection cannot be tapped.
    """
    try:
        tap = tap_connection(connection, _WAITING_MAX, options.preview)
    except ValueError as error:
        raise Refused(str(error)) from None
    loop = asyncio.get_running_loop()
    end, count = loop.time() + options.seconds, 0
    yield {"begin": True}
    try:
        while True:
            has_ended = connection.close_reason is not None
            records, dropped, dropped_bytes = tap.take()
            for time, is_received, size, head in records:
                count += 1
                yield _record(time, is_received, size, head)
                if count == options.records:
                    yield {"end": f"{counted(count, 'record')} were shown"}
                    return
            if dropped:
                yield {"dropped": dropped, "dropped_bytes": dropped_bytes}
            if has_ended:
                yield {"end": f"the connection has ended: {connection.close_reason}"}
                return
            if loop.time() >= end:
                yield {"end": f"{options.seconds:g} seconds are over"}
                return
            await asyncio.sleep(min(_COLLECT_SECONDS, max(0.0, end - loop.time())))
    finally:
        tap.stop()


def _record(time: float, is_received: bool, size: int, head: bytes) -> dict[str, Any]:
    is_text, preview = _preview(head, is_cut=size > len(head))
    return {
        "time": time,
        "direction": "received" if is_received else "sent",
        "bytes": size,
        "text" if is_text else "hex": preview,
    }


def _preview(head: bytes, *, is_cut: bool) -> tuple[bool, str]:
    """The first bytes as text if they are text, otherwise as hexadecimal numbers."""
    for missing in range(4 if is_cut else 1):
        # A character may be cut at the end.
        try:
            text = head[: len(head) - missing].decode()
        except UnicodeDecodeError:
            continue
        if all(one.isprintable() or one in "\r\n\t" for one in text):
            return True, text
    return False, head.hex(" ")
