"""TLS over a simulated network that passes few bytes on at a time."""

from typing import Literal

import pytest

import vespiary
from vespiary import ClientTLS, ServerTLS
from vespiary.testing import Faults, run

from .kit import Echo
from .test_async_filters import Slow
from .test_filters import Rolling

LINES = [b"ab", b"c" * 7, b"d" * 300, b"e" * 4000]


@pytest.mark.parametrize("driver", ["sim"], indirect=True)
@pytest.mark.parametrize("chain", [[], [Slow], [Rolling, Slow]], ids=["alone", "slow", "two"])
@pytest.mark.parametrize("scheme", ["tls", "wss"])
@pytest.mark.parametrize("read_bytes_max", [16, 64, 5000])
def test_a_handshake_and_messages_arrive_however_the_stream_is_cut(
    tls: ServerTLS,
    trusting: ClientTLS,
    read_bytes_max: int,
    scheme: str,
    chain: list[type[vespiary.Filter]],
) -> None:
    url = f"{scheme}://127.0.0.1:7"
    framing: Literal["line"] | None = "line" if scheme == "tls" else None

    async def main() -> list[bytes | str]:
        server = vespiary.Server()
        server.add(Echo, url, framing=framing, filters=chain, tls=tls)
        async with (
            server,
            vespiary.connect(url, framing=framing, filters=chain, tls=trusting) as client,
        ):
            for line in LINES:
                client.send(line)
            return [await client.receive() for _ in LINES]

    for seed in range(3):
        faults = Faults(read_bytes_max=read_bytes_max, short_reads=0.5, short_writes=0.5)
        assert run(main(), seed=seed, faults=faults) == LINES
