"""What is read: requests and responses, data, and the end of a message."""

from dataclasses import dataclass

from ._fields import Fields, ProtocolError, normalized

__all__ = ["Data", "EndOfMessage", "Request", "Response"]


@dataclass
class Request:
    method: bytes
    target: bytes
    fields: Fields
    version: bytes = b"1.1"

    def __post_init__(self) -> None:
        self.fields = normalized(self.fields)
        hosts = sum(name == b"host" for name, _ in self.fields)
        if self.version == b"1.1" and hosts == 0:
            raise ProtocolError("Missing mandatory Host: header")
        if hosts > 1:
            raise ProtocolError("Found multiple Host: headers")


@dataclass
class Response:
    status: int
    fields: Fields
    version: bytes = b"1.1"

    def __post_init__(self) -> None:
        self.fields = normalized(self.fields)


@dataclass
class Data:
    data: bytes


@dataclass
class EndOfMessage:
    trailers: Fields
