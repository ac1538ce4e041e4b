"""The client that the suite tests: it runs the cases that it reads, on some of the suite's servers.

    python -m tests.conformance.echo_client uring|epoll AGENT URL... < CASES

Every server has every case. A case goes to the first server that is free, and its number is printed
when it is over: when the suite closes the connection, in whatever manner it finds interesting.

The echo is a callback, which answers a message before the frame behind it is looked at. A task gets
its turn when the whole batch has been read; where a broken frame is in it, the messages before it
can no longer be answered, and the suite calls that non-strict (cases 3.2 to 3.4, 4.1.3 and others).
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping

import vespiary
from tests.conformance.echo_server import LIMITS, WEBSOCKET, Echo

CONNECT_SECONDS = 15.0
CASE_SECONDS = 500.0
"""The suite itself gives up a compression case of 1,000 messages after 480."""


async def count_cases(url: str) -> int:
    """How many cases the server has; waits until it listens."""
    async with asyncio.timeout(CONNECT_SECONDS):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                async with vespiary.connect(f"{url}/getCaseCount") as connection:
                    return int(await connection.receive())
            await asyncio.sleep(0.05)


async def index_cases(url: str) -> dict[str, int]:
    """The server's own count of each case, from 1, by the case's number."""
    places = {}
    for place in range(1, await count_cases(url) + 1):
        async with vespiary.connect(f"{url}/getCaseInfo?case={place}") as connection:
            places[json.loads(await connection.receive())["id"]] = place
    return places


async def run_case(url: str, agent: str, place: int) -> None:
    """Send back what the server sends, until the connection ends."""
    target = f"{url}/runCase?case={place}&agent={agent}"
    async with asyncio.timeout(CASE_SECONDS):
        connection = await vespiary.connect(target, Echo(), limits=LIMITS, websocket=WEBSOCKET)
        await connection.wait_closed()


async def run_cases(url: str, agent: str, places: Mapping[str, int], cases: Iterator[str]) -> None:
    """Run cases on a server while there are any, and let it write its report."""
    await count_cases(url)
    for case in cases:
        await run_case(url, agent, places[case])
        print(case, flush=True)
    async with vespiary.connect(f"{url}/updateReports?agent={agent}") as connection:
        await connection.wait_closed()


async def main(agent: str, urls: list[str], cases: list[str]) -> None:
    """Run all cases, on all servers at once."""
    places = await index_cases(urls[0])
    left = iter(cases)
    async with asyncio.TaskGroup() as tasks:
        for url in urls:
            tasks.create_task(run_cases(url, agent, places, left))


if __name__ == "__main__":
    vespiary.run(main(sys.argv[2], sys.argv[3:], sys.stdin.read().split()), driver=sys.argv[1])
