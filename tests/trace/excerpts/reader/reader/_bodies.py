"""Bodies: how long one is, and the readers of each kind."""

import re
from typing import NoReturn

from ._events import Data, EndOfMessage, Request, Response
from ._fields import ProtocolError, decoded, options

__all__ = ["ChunkedReader", "LengthReader", "framing", "keeps_alive"]

_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,20}")


def framing(event: Request | Response, method: bytes = b"") -> tuple[str, int]:
    """The kind of a message's body, and its length if it has one."""
    if isinstance(event, Response) and (
        event.status in (204, 304)
        or method == b"HEAD"
        or (method == b"CONNECT" and 200 <= event.status < 300)
    ):
        return "length", 0
    if options(event.fields, b"transfer-encoding"):
        return "chunked", 0
    for name, value in event.fields:
        if name == b"content-length":
            return "length", int(value)
    return ("length", 0) if isinstance(event, Request) else ("until the end", 0)


def keeps_alive(event: Request | Response) -> bool:
    """Whether the connection can have another message."""
    connection = options(event.fields, b"connection")
    if b"close" in connection:
        return False
    if event.version < b"1.1" and b"keep-alive" not in connection:
        return False
    return True


class LengthReader:
    def __init__(self, length: int) -> None:
        self._left = length

    def read(self, buffer: bytearray) -> Data | EndOfMessage | None:
        if self._left == 0:
            return EndOfMessage([])
        data = bytes(buffer[: self._left])
        del buffer[: self._left]
        self._left -= len(data)
        return Data(data) if data else None

    def read_eof(self) -> NoReturn:
        raise ProtocolError("peer closed connection without sending complete message body")


class ChunkedReader:
    def __init__(self) -> None:
        self._left = 0

    def read(self, buffer: bytearray) -> Data | EndOfMessage | None:
        if self._left == 0:
            header, mark, _ = bytes(buffer).partition(b"\r\n")
            if not mark:
                return None
            digits = header
            if b";" in header:
                digits = header.partition(b";")[0].strip()
            if not _CHUNK_SIZE.fullmatch(digits):
                raise ProtocolError(f"illegal chunk header: {header!r}")
            size = int(digits, 16)
            if size == 0:
                trailers = bytes(buffer[len(header) + 2 :]).split(b"\r\n")
                return EndOfMessage(decoded(line for line in trailers if line))
            del buffer[: len(header) + 2]
            self._left = size
        data = bytes(buffer[: self._left])
        del buffer[: self._left]
        self._left -= len(data)
        if self._left == 0:
            del buffer[:2]
        return Data(data)
