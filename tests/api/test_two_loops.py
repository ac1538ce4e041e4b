"""Loops in two threads, each of which uses connections and servers of the other."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import vespiary

from .conftest import bounded
from .kit import Recorder, serving, until

SECONDS = 15
"""How long a thread waits for the other: longer than a call waits for its result."""


class Pair:
    """Two loops in two threads; each has a server with one connection."""

    def __init__(self, driver: str, **options: Any) -> None:
        self.driver = driver
        self.options = options
        self.barrier = threading.Barrier(2)
        self.servers: list[vespiary.Server] = []
        self.connections: list[vespiary.Connection] = []
        self.clients: list[vespiary.Connection] = []

    def run(self, act: Callable[["Pair", int], Any]) -> list[Any]:
        """Call `act` in both loops, at a moment at which neither takes turns; the results."""

        async def main(number: int) -> Any:
            recorder = Recorder()
            async with (
                serving(recorder, **self.options) as server,
                vespiary.connect(server.urls[0]) as client,
            ):
                await until(lambda: recorder.connections)
                self.barrier.wait(SECONDS)
                for mine in (number, 1 - number):
                    # In the same order in both lists.
                    if mine == 0:
                        self._add(server, recorder, client)
                    self.barrier.wait(SECONDS)
                self.barrier.wait(SECONDS)
                result = act(self, number)
                if asyncio.iscoroutine(result):
                    result = await result
                await asyncio.to_thread(self.barrier.wait, SECONDS)
            return result

        def run(number: int) -> Any:
            return vespiary.run(bounded_result(main(number)), driver=self.driver)

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(run, (0, 1)))

    def _add(
        self, server: vespiary.Server, recorder: Recorder, client: vespiary.Connection
    ) -> None:
        self.servers.append(server)
        self.connections.append(recorder.connections[0])
        self.clients.append(client)


async def bounded_result(coroutine: Any) -> Any:
    results = []

    async def run() -> None:
        results.append(await coroutine)

    await bounded(run())
    return results[0]


QUESTIONS: dict[str, Callable[[Pair, int], object]] = {
    "statistics": lambda pair, other: pair.connections[other].statistics().bytes_received,
    "peer": lambda pair, other: pair.connections[other].peer is not None,
    "publish": lambda pair, other: pair.servers[other].publish("topic", "message"),
    "server statistics": lambda pair, other: (
        pair.servers[other].statistics().total.connections_open
    ),
    "subscribe": lambda pair, other: pair.connections[other].subscribe("topic"),
    "set_timer": lambda pair, other: pair.servers[other].set_timer(60, print).cancel(),
    "send": lambda pair, other: pair.connections[other].send("message") is not None,
    "send_part": lambda pair, other: pair.connections[other].send_part("part", last=True),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_two_loops_that_ask_each_other_are_both_answered(driver: str, name: str) -> None:
    question = QUESTIONS[name]

    def act(pair: Pair, number: int) -> object:
        return [question(pair, 1 - number) for _ in range(100)]

    first, second = Pair(driver).run(act)
    if name != "subscribe":
        assert first == second


def test_a_callback_of_another_thread_waits_until_the_handler_has_returned(driver: str) -> None:
    def act(pair: Pair, number: int) -> object:
        pair.connections[1 - number]._call_soon(mark, number)
        for _ in range(100):
            assert pair.connections[1 - number].is_open
        is_early = (1 - number) in marks
        return until_marked(number, is_early)

    marks: set[int] = set()
    mark = marks.add

    async def until_marked(number: int, is_early: bool) -> bool:
        await until(lambda: len(marks) == 2)
        return is_early

    assert Pair(driver).run(act) == [False, False]


def test_what_a_thread_sends_arrives_in_order_when_the_other_loop_answers_in_its_wait(
    driver: str,
) -> None:
    async def act(pair: Pair, number: int) -> list[bytes | str]:
        connection = pair.connections[1 - number]
        for count in range(50):
            connection.send(f"{count}")
            assert connection.is_open
            connection.send_part(f"{count} in parts", last=True)
        return [await pair.clients[number].receive() for _ in range(100)]

    sent = [text for count in range(50) for text in (f"{count}", f"{count} in parts")]
    assert Pair(driver).run(act) == [sent, sent]


def test_a_thread_whose_loop_runs_does_not_wait_for_room(driver: str) -> None:
    """The peer that makes the room is a connection of its own loop."""

    async def act(pair: Pair, number: int) -> int:
        connection, client = pair.connections[1 - number], pair.clients[1 - number]
        sent = 0
        client.pause_reading()
        try:
            while sent < 10_000:
                connection.send(bytes(10_000))
                sent += 1
        except vespiary.WriteQueueFull:
            refused.append(number)
        client.resume_reading()
        return sent

    limits = vespiary.Limits(write_bytes_max=300_000, write_high_bytes=100_000)
    refused: list[int] = []
    assert all(Pair(driver, limits=limits).run(act))
    assert sorted(refused) == [0, 1]
