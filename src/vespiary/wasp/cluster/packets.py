"""What processes send each other over the broker, as msgpack."""

from __future__ import annotations

import msgspec

__all__ = [
    "Announcement",
    "Content",
    "Direct",
    "Leaving",
    "Packet",
    "Request",
    "State",
    "as_bytes",
    "as_sent",
    "decoded",
    "encoded",
]


class _Base(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A packet. The tag says what it is."""

    sender: str


class Content(_Base, tag="p"):
    """A published message."""

    number: int
    topic: str
    message: bytes | None
    compress: bool | None
    retain: bool
    is_text: bool
    stamp: bytes


class Announcement(_Base, tag="h"):
    """What a process has."""

    host: str
    process: int
    first: int
    last: int


class Leaving(_Base, tag="b"):
    """A process ends."""


class Direct(_Base, tag="a"):
    """A message for one connection."""

    connection_id: str
    message: bytes
    compress: bool | None
    is_text: bool


class State(_Base, tag="s"):
    """A part of the state of a process: see `vespiary.workers._state`."""

    message: bytes


class Request(_Base, tag="r"):
    """Numbers of messages that the sender has missed."""

    first: int
    last: int


Packet = Content | Announcement | Leaving | Direct | State | Request
decoded = msgspec.msgpack.Decoder(Packet).decode
encoded = msgspec.msgpack.Encoder().encode


def as_bytes(message: str | bytes) -> tuple[bytes, bool]:
    """A message as a packet has it, and whether it is text."""
    if isinstance(message, str):
        return message.encode(), True
    return message, False


def as_sent(message: bytes, is_text: bool) -> str | bytes:
    """A message in the type that it had."""
    return message.decode() if is_text else message
