"""Our client, as a process: it connects to a raw server again and again.

    python -m tests.acceptance.hostile.client JSON

JSON has `driver`, `port`, `times` and perhaps `compressed`. It prints an object with `endings`,
side, kind and code of the reason for which each connection ended, and `growth`, by how many bytes
the peak of its resident memory grew after the first of them.
"""

import asyncio
import json
import resource
import sys
from typing import Any

import vespiary

SECONDS = 60.0


class Echo(vespiary.Handler):
    """Sends back what comes."""

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        """Send it back."""
        connection.send(message)


def peak_bytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


async def main(options: dict[str, Any]) -> None:
    """Connect, and wait for the end, so many times."""
    compression = vespiary.Compression() if options.get("compressed") else None
    websocket = vespiary.WebSocket(compression=compression)
    endings: list[list[object]] = []
    before = 0
    for number in range(options["times"]):
        async with asyncio.timeout(SECONDS):
            url = f"ws://127.0.0.1:{options['port']}"
            connection = await vespiary.connect(url, Echo(), websocket=websocket)
            reason = await connection.wait_closed()
        endings.append([reason.side, reason.kind, reason.code])
        if number == 0:
            before = peak_bytes()
    print(json.dumps({"endings": endings, "growth": peak_bytes() - before}))


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    vespiary.run(main(told), driver=told["driver"])
