"""The private parts of asyncio that the loop uses. The stub next to this file has their types.

They are not documented, but have been the same in all versions of CPython that are supported. The
suites of CPython (`make suites`) show when this changes.
"""

import asyncio
from asyncio import base_events
from asyncio.format_helpers import _format_callback_source as format_callback_source
from asyncio.selector_events import _SelectorDatagramTransport as SelectorDatagramTransport
from asyncio.selector_events import _SelectorSocketTransport as SelectorSocketTransport
from asyncio.sslproto import SSLProtocol

__all__ = [
    "Handle",
    "SSLProtocol",
    "SelectorDatagramTransport",
    "SelectorEventLoop",
    "SelectorSocketTransport",
    "TimerHandle",
    "format_callback_source",
    "warn_of_slow_call",
]

Handle = asyncio.Handle
TimerHandle = asyncio.TimerHandle
SelectorEventLoop = asyncio.SelectorEventLoop


def warn_of_slow_call(handle, seconds):  # type: ignore[no-untyped-def]
    """Log, as asyncio does in debug mode, that a callback took so many seconds."""
    text = base_events._format_handle(handle)
    base_events.logger.warning("Executing %s took %.3f seconds", text, seconds)
