"""The client that the suite tests: it runs every case of some of the suite's servers.

    python echo_client.py uring|epoll AGENT URL...

The servers' cases are run one after the other, those of different servers side by side. A case is
over when the suite closes the connection, in whatever manner it finds interesting.

The echo is a callback, which answers a message before the frame behind it is looked at. A task gets
its turn when the whole batch has been read; where a broken frame is in it, the messages before it
can no longer be answered, and the suite calls that non-strict (cases 3.2 to 3.4, 4.1.3 and others).
"""

import asyncio
import contextlib
import sys

import vespiary
from tests.conformance.echo_server import LIMITS, Echo

CONNECT_SECONDS = 15.0
CASE_SECONDS = 60.0


async def count_cases(url: str) -> int:
    """How many cases the server has; waits until it listens."""
    async with asyncio.timeout(CONNECT_SECONDS):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                async with vespiary.connect(f"{url}/getCaseCount") as connection:
                    return int(await connection.receive())
            await asyncio.sleep(0.05)


async def run_case(url: str, agent: str, number: int) -> None:
    """Send back what the server sends, until the connection ends."""
    target = f"{url}/runCase?case={number}&agent={agent}"
    async with asyncio.timeout(CASE_SECONDS):
        connection = await vespiary.connect(target, Echo(), limits=LIMITS)
        await connection.wait_closed()


async def run_cases(url: str, agent: str) -> None:
    """Run all cases of a server, and let it write its report."""
    for number in range(1, await count_cases(url) + 1):
        await run_case(url, agent, number)
    async with vespiary.connect(f"{url}/updateReports?agent={agent}") as connection:
        await connection.wait_closed()


async def main(agent: str, urls: list[str]) -> None:
    """Run all cases of all servers."""
    async with asyncio.TaskGroup() as tasks:
        for url in urls:
            tasks.create_task(run_cases(url, agent))


if __name__ == "__main__":
    vespiary.run(main(sys.argv[2], sys.argv[3:]), driver=sys.argv[1])
