"""Which version of WebSocket to ask for next, when a server has refused one (RFC 6455 4.4)."""

from collections.abc import Iterable, Sequence

from vespiary.errors import HandshakeRefused

__all__ = ["next_version"]


def next_version(
    refusal: HandshakeRefused, spoken: Sequence[int], asked: Iterable[int]
) -> int | None:
    """The first version of ours that the server names and was not asked for; None when none is.

    A server names its versions in one `Sec-WebSocket-Version` or in several, each with one or more
    (section 4.4). One that refuses for another reason names none, or only the one asked for.
    """
    named = {
        text.strip()
        for value in refusal.headers.get_all("sec-websocket-version")
        for text in value.split(",")
    }
    left = [version for version in spoken if version not in set(asked)]
    return next((version for version in left if str(version) in named), None)
