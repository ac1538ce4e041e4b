"""Lines: a message is one line."""

import pytest

import vespiary
from vespiary.framing import Framing

from .kit import TCP, Echo, serving


@pytest.mark.parametrize("framing", ["line", "crlf"])
@pytest.mark.parametrize("message", ["a\nb", b"a\nb", bytearray(b"a\n"), "a\r\n", "\n"])
async def test_a_message_with_a_line_break_is_refused(
    framing: Framing, message: str | bytes
) -> None:
    async with (
        serving(Echo, TCP, framing=framing) as server,
        vespiary.connect(server.urls[0], framing=framing) as client,
    ):
        with pytest.raises(vespiary.SendRefused, match="line break"):
            client.send(message)
        client.send("one line")
        assert await client.receive() == b"one line"


async def test_a_message_whose_end_would_be_lost_is_refused() -> None:
    async with (
        serving(Echo, TCP, framing="line") as server,
        vespiary.connect(server.urls[0], framing="line") as client,
    ):
        with pytest.raises(vespiary.SendRefused, match="line break"):
            client.send("a\r")
        client.send("a\rb")
        assert await client.receive() == b"a\rb"
