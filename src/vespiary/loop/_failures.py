"""What asyncio's handles do with the exception of a callback."""

import sys
from typing import Any

from vespiary.loop._asyncio import Handle, format_callback_source

__all__ = ["callback_failed"]


def callback_failed(handle: Handle, error: BaseException) -> None:
    """Give the exception of a handle's callback to its loop's handler of exceptions."""
    loop = handle._loop
    if sys.version_info >= (3, 13):
        source = format_callback_source(handle._callback, handle._args, debug=loop.get_debug())
    else:
        source = format_callback_source(handle._callback, handle._args)
    context: dict[str, Any] = {
        "message": f"Exception in callback {source}",
        "exception": error,
        "handle": handle,
    }
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    loop.call_exception_handler(context)
