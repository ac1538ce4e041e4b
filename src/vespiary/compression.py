"""permessage-deflate: how WebSocket messages are compressed."""

from dataclasses import dataclass

from vespiary._suggestions import checks_names
from vespiary.errors import ConfigurationError

__all__ = ["Compression"]

_RANGES = {
    "level": (0, 9),
    "memory_level": (1, 9),
    "threshold_bytes": (0, 1 << 62),
    "server_window_bits": (8, 15),
    "client_window_bits": (8, 15),
}


@checks_names()
@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How the messages of a WebSocket endpoint are compressed (permessage-deflate, RFC 7692).

    Both ends negotiate the parameters in the handshake, and use the smaller value of each. If the
    peer does not support the extension, messages are not compressed.

    In the names of the fields, `server` is always the end that accepted the connection, and
    `client` is the other end. The window is the part of earlier data that a message can refer to.
    Its size is a power of two.

    A client makes two offers: the first asks the server for the parameters of the fields
    `server_...`, the second does not. So it can also connect to servers that do not support these
    parameters.

    Attributes:
        level: The compression level: 1 is the fastest, 9 gives the smallest messages, 0 does not
            compress. 3: for JSON of 1 to 4 KiB, nearly as small as level 6, in at most two thirds
            of the time.
        memory_level: How much memory a compressor uses, from 1 (little) to 9 (much). 8: the default
            of zlib.
        threshold_bytes: Shorter messages are not compressed, except with `send(...,
            compress=True)`. 256: JSON of this length is compressed to about half. For shorter
            messages, compression saves less than the size of the packet headers.
        server_context_takeover: Whether the server's messages can refer to earlier messages.
            Similar messages then become a third smaller, but each connection that was sent a
            compressed message keeps a compressor, which needs 370 KiB by default. False:
            connections share compressors.
        client_context_takeover: The same for the client's messages. True: a server keeps the
            received data, up to the size of the window; a client keeps a compressor.
        server_window_bits: 8 to 15, 256 bytes to 32 KiB. 15.
        client_window_bits: The same for the client's messages, if the client supports it, as
            browsers do. 12: 4 KiB per connection.

    Raises:
        ConfigurationError: a field has a value that it cannot have.
    """

    level: int = 3
    memory_level: int = 8
    threshold_bytes: int = 256
    server_context_takeover: bool = False
    client_context_takeover: bool = True
    server_window_bits: int = 15
    client_window_bits: int = 12

    def __post_init__(self) -> None:
        """Check every field."""
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                wanted = f"a whole number from {least} to {most}"
                if name == "threshold_bytes":
                    wanted = "a whole number of at least 0"
                raise _wrong(name, value, wanted)
        for name in ("server_context_takeover", "client_context_takeover"):
            value = getattr(self, name)
            if type(value) is not bool:
                raise _wrong(name, value, "True or False")


def _wrong(name: str, value: object, wanted: str) -> ConfigurationError:
    return ConfigurationError(
        f"Compression.{name} must be {wanted}; got {value!r}", subject=name, value=value
    )
