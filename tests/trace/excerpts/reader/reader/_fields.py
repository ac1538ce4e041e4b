"""Fields: from lines to names and values, and what they must satisfy together."""

import re
from collections.abc import Iterable, Iterator

__all__ = ["Fields", "ProtocolError", "decoded", "normalized", "options"]

Fields = list[tuple[bytes, bytes]]

_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(\s*):[ \t]*(.*?)[ \t]*")
_FOLD = re.compile(rb"[ \t]+")


class ProtocolError(Exception):
    def __init__(self, words: str, status: int = 400) -> None:
        super().__init__(words)
        self.status = status


def unfolded(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join folded lines to those above them."""
    last: bytes | None = None
    for line in lines:
        fold = _FOLD.match(line)
        if fold:
            if last is None:
                raise ProtocolError("continuation line at start of headers")
            last += b" " + line[fold.end() :]
        else:
            if last is not None:
                yield last
            last = line
    if last is not None:
        yield last


def decoded(lines: Iterable[bytes]) -> Fields:
    """The names and values of lines."""
    fields: Fields = []
    for line in unfolded(lines):
        match = _FIELD.fullmatch(line)
        if match is None or match[2]:
            raise ProtocolError(f"illegal header line: {line!r}")
        fields.append((match[1], match[3]))
    return fields


def normalized(fields: Fields) -> Fields:
    """The same with names in small letters; lengths and codings are checked."""
    known: bytes | None = None
    found: Fields = []
    for raw, value in fields:
        name = raw.lower()
        if name == b"content-length":
            lengths = {length.strip() for length in value.split(b",")}
            if len(lengths) != 1:
                raise ProtocolError("conflicting Content-Length headers")
            value = lengths.pop()
            if known is None:
                known = value
            elif known != value:
                raise ProtocolError("conflicting Content-Length headers")
            else:
                continue
        elif name == b"transfer-encoding":
            value = value.lower()
            if value != b"chunked":
                raise ProtocolError("Only Transfer-Encoding: chunked is supported", 501)
        found.append((name, value))
    return found


def options(fields: Fields, name: bytes) -> list[bytes]:
    """The values of a field that is a list, in small letters."""
    values = [value for key, value in fields if key == name]
    return [part.strip().lower() for value in values for part in value.split(b",")]
