"""What is wrong with a message that an application has sent, in words.

The calls of an application look at a message once, and ask here when something does not fit; so a
message that is well-formed costs nothing extra.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from vespiary.errors import ConnectionClosed

__all__ = [
    "BYTES",
    "ClientGone",
    "header_fault",
    "is_disconnect",
    "message_type",
    "out_of_order",
    "status_of",
    "text_pairs",
    "unframed",
    "wrong_field",
]

BYTES = (bytes, bytearray, memoryview)
"""The types of bytes in messages. A tuple: `isinstance` with a union would make that each time."""
_DISCONNECTS = ("ClientDisconnect", "WebSocketDisconnect")


class ClientGone(ConnectionResetError):
    """The client has disconnected, so nothing can be sent to it; an OSError, as ASGI asks for."""

    def __init__(self) -> None:
        super().__init__("the client has disconnected")


def is_disconnect(error: BaseException) -> bool:
    """Whether an exception says that the client has disconnected, and nothing else.

    Frameworks have exceptions of their own for it, such as Starlette's `ClientDisconnect`.
    """
    is_ours = isinstance(error, ClientGone | ConnectionClosed)
    return is_ours or type(error).__name__ in _DISCONNECTS


def message_type(message: Any) -> str:
    """Return the type of a message.

    Raises:
        TypeError: it is not a mapping with a type that is text.
    """
    try:
        kind = message["type"]
    except (TypeError, KeyError, IndexError):
        kind = None
    if not isinstance(kind, str):
        raise TypeError(
            f"an ASGI message is a dict with a 'type' that is str; got {message!r:.200}"
        )
    return kind


def out_of_order(kind: str, expected: Sequence[str], state: str) -> RuntimeError:
    """Return the error for a message that cannot be sent now.

    Args:
        kind: The message's type.
        expected: The types that can be sent now.
        state: What has happened so far.
    """
    if not expected:
        return RuntimeError(f"{kind!r} cannot be sent, because {state}")
    return RuntimeError(f"{kind!r} cannot be sent, because {state}: send {' or '.join(expected)}")


def wrong_field(message: Any, name: str, wanted: str) -> TypeError:
    """Return the error for a field of a wrong type."""
    value = message.get(name)
    return TypeError(f"{name!r} of {message['type']!r} must be {wanted}; got {value!r:.200}")


def status_of(message: Any) -> int:
    """Return the status of a response.

    Raises:
        TypeError: there is none, or it is not a number.
        ValueError: it is not that of a final response.
    """
    status = message.get("status")
    if type(status) is int and 200 <= status <= 599:
        return status
    # http.HTTPStatus is an int too.
    if not isinstance(status, int) or isinstance(status, bool):
        raise wrong_field(message, "status", "an int")
    if not 200 <= status <= 599:
        raise ValueError(
            f"'status' of {message['type']!r} must be from 200 to 599 (RFC 9110 section 15);"
            f" got {status}"
        )
    return int(status)


def header_fault(message: Any, headers: Any) -> TypeError:
    """Return the error for header fields of which one is of a wrong type."""
    name = "headers"
    if isinstance(headers, str | bytes) or not isinstance(headers, Iterable):
        return wrong_field(message, name, "pairs of bytes")
    for pair in headers:
        is_pair = isinstance(pair, tuple | list) and len(pair) == 2
        if not is_pair or not all(isinstance(part, bytes) for part in pair):
            return TypeError(
                f"'headers' of {message['type']!r} must be pairs of bytes; got {pair!r:.200}"
            )
    return wrong_field(message, name, "pairs of bytes")


def unframed(status: int, headers: Iterable[Any]) -> list[Any]:
    """Return header fields without those that say how the body is framed.

    The server frames the body. But frameworks add a length to a 204, which must not have one (RFC
    9110 section 8.6), and applications say `chunked`, which the server adds where it is needed.
    """

    def is_framing(field: Any) -> bool:
        match field:
            case (bytes(name), bytes(value)):
                name = name.lower()
                if name == b"transfer-encoding":
                    return value.strip().lower() == b"chunked"
                return status == 204 and name == b"content-length"
        return False

    return [field for field in headers if not is_framing(field)]


def text_pairs(message: Any) -> list[tuple[str, str]]:
    """Return the header fields of a message as text.

    Raises:
        TypeError: they are not pairs of bytes.
    """
    headers = message.get("headers", ())
    try:
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    except (AttributeError, TypeError, ValueError):
        raise header_fault(message, headers) from None
