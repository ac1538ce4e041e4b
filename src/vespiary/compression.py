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

    The opening handshake settles what both ends can have: what either of them makes smaller here is
    smaller for both. An end that does not know the extension gets its messages as they are.

    `server` is the end that was connected to and `client` the other one, whichever of them the
    options are for. A window is what a message may refer back to; it counts as a power of two.

    A client asks for what it would have of the server, and offers a second time without that: a
    server that cannot grant it (it keeps its context, or has a larger window) is accepted.

    Attributes:
        level: How hard to try: 1 is fastest, 9 smallest, 0 stores. 3: within a few hundredths of
            level 6 on JSON of 1 to 4 KiB, at two thirds of its time or less.
        memory_level: How much of a message a compressor gathers before it writes: 1 is little, 9
            is much. 8, zlib's own.
        threshold_bytes: Shorter messages are sent as they are, unless `send(..., compress=True)`
            wants otherwise. 256: JSON of that length still halves; below, what is saved is less
            than the headers of the packet that carries it, and costs the same.
        server_context_takeover: The server's messages may refer to those before them: a stream of
            alike messages gets a third smaller, and each connection that was sent a compressed
            message keeps a compressor, of 370 KiB by default. False: a compressor is borrowed for
            each message.
        client_context_takeover: The same for the client's. True: a server keeps as much as has
            come, up to the window; a client keeps a compressor.
        server_window_bits: 8 to 15, 256 bytes to 32 KiB. 15.
        client_window_bits: The same for what the client sends, if it can be asked to, as browsers
            can. 12: 4 KiB a connection.

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
