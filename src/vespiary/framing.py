"""How the bytes of a stream become messages."""

from dataclasses import dataclass
from typing import Literal

from vespiary._suggestions import checks_names
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError

__all__ = ["Framing", "LengthPrefix", "framing_options"]


@checks_names()
@dataclass(frozen=True, slots=True)
class LengthPrefix:
    """Each message is preceded by its length.

    Attributes:
        width: Bytes of the prefix: 1, 2, 4 or 8.
        byteorder: `big` (network order) or `little`.
        includes_itself: Whether the length counts the prefix too.
    """

    width: Literal[1, 2, 4, 8] = 4
    byteorder: Literal["big", "little"] = "big"
    includes_itself: bool = False

    def __post_init__(self) -> None:
        if self.width not in (1, 2, 4, 8):
            raise ConfigurationError(
                f"a length prefix has 1, 2, 4 or 8 bytes; got {self.width!r}",
                subject="width",
                value=self.width,
            )
        if self.byteorder not in ("big", "little"):
            raise ConfigurationError(
                f"byteorder is 'big' or 'little'; got {self.byteorder!r}",
                subject="byteorder",
                value=self.byteorder,
            )


Framing = Literal["raw", "line", "crlf", "length"] | LengthPrefix
"""How a stream becomes messages.

With `raw` each piece of the stream is a message, as it arrives. With `line` and `crlf` a message is
a line, sent with LF or with CR LF (both understand either). `length` is `LengthPrefix()`, a length
of four bytes in network order before each message.
"""

_NAMES = ("raw", "line", "crlf", "length")


def framing_options(endpoint: Endpoint, framing: Framing | None) -> dict[str, object]:
    """The engine's framing for an endpoint.

    Raises:
        ConfigurationError: the framing is unknown, or the URL's scheme has its own.
    """
    if endpoint.has_http:
        if framing is not None:
            raise ConfigurationError(
                f"{endpoint.bare} always has the framing of its scheme: framing= is only for tcp://"
                " and unix://",
                subject="framing",
                value=framing,
            )
        return {"framing": "websocket" if endpoint.is_websocket else "http"}
    if framing is None:
        framing = "raw"
    if framing == "length":
        framing = LengthPrefix()
    if isinstance(framing, LengthPrefix):
        return {
            "framing": "length",
            "length_width": framing.width,
            "length_big_endian": framing.byteorder == "big",
            "length_includes_itself": framing.includes_itself,
        }
    if framing not in _NAMES:
        raise ConfigurationError(
            f"framing is one of {', '.join(_NAMES)}, or a LengthPrefix; got {framing!r}",
            subject="framing",
            value=framing,
        )
    return {"framing": framing}
