"""Datagrams in the simulation: a handler's test can have them lost, doubled and late."""

import asyncio

import vespiary
import vespiary.testing
from vespiary import Datagram, Handler, Server
from vespiary.testing import Faults

UDP = "udp://127.0.0.1:0"
COUNT = 200


class Echo(Handler):
    def on_datagram(self, datagram: Datagram) -> None:
        datagram.reply(datagram.data)


class Asks(Handler):
    def __init__(self) -> None:
        self.answers: list[int] = []

    def on_datagram(self, datagram: Datagram) -> None:
        self.answers.append(datagram.data[0])


def answers(faults: Faults, seed: int = 1) -> list[int]:
    """The answers to numbered questions, in the order in which they came."""
    asks = Asks()

    async def main() -> None:
        server = Server(signals=False)
        server.add(Echo(), UDP)
        server.add(asks, UDP)
        async with server:
            echo, own = server.datagram_sockets
            is_over = asyncio.Event()

            def ask(number: int) -> None:
                if number == COUNT:
                    server.set_timer(1, is_over.set)
                else:
                    own.send_to(bytes([number]), echo.address)
                    server.set_timer(0.001, lambda: ask(number + 1))

            ask(0)
            await is_over.wait()

    vespiary.testing.run(main(), seed=seed, faults=faults)
    return asks.answers


def test_without_faults_every_answer_comes_once_and_in_order() -> None:
    assert answers(Faults()) == list(range(COUNT))


def test_datagrams_are_lost_and_doubled_and_a_seed_repeats_it() -> None:
    faults = Faults(lost_datagrams=0.2, doubled_datagrams=0.1)
    came = answers(faults)
    assert len(set(came)) < COUNT
    assert len(set(came)) < len(came)
    assert came == sorted(came)
    assert came == answers(faults)
    assert came != answers(faults, seed=2)


def test_datagrams_that_are_late_come_out_of_order() -> None:
    came = answers(Faults(late_completions=0.5, late_seconds_max=0.01))
    assert sorted(came) == list(range(COUNT))
    assert came != sorted(came)
