"""A handler and its tests: in memory, in virtual time, with faults, and over a real socket.

Run:   .venv/bin/python -m pytest examples/test_dice.py
"""

import asyncio
import random

from websockets.sync.client import connect

import vespiary
from vespiary.testing import TestClient, check_handler, serve, simulated
from vespiary.testing.plugin import ServerFactory


class Dice(vespiary.Handler[str]):
    """Throws the dice that it is asked for, two seconds later."""

    def __init__(self, seed: int | None = None) -> None:
        self.random = random.Random(seed)

    async def on_message(self, connection: vespiary.Connection[str], message: str) -> None:
        """A message is the number of dice."""
        if not message.isdecimal() or not 1 <= int(message) <= 100:
            connection.send("say a number from 1 to 100")
            return
        await asyncio.sleep(2)
        thrown = [self.random.randint(1, 6) for _ in range(int(message))]
        connection.send(" ".join(map(str, thrown)))


def test_throws_as_many_dice_as_asked() -> None:
    with TestClient(Dice()) as client, client.connect() as connection:
        connection.send("5")
        thrown = [int(number) for number in connection.receive(timeout=3).split()]
        assert len(thrown) == 5
        assert set(thrown) <= set(range(1, 7))


def test_refuses_what_is_not_a_number() -> None:
    with TestClient(Dice()) as client, client.connect() as connection:
        connection.send("many")
        assert connection.receive() == "say a number from 1 to 100"


@simulated(seeds=10, faults="lossless")
async def test_a_hundred_clients_do_not_wait_for_each_other() -> None:
    async with serve(Dice()) as server:
        began = asyncio.get_running_loop().time()
        clients = await asyncio.gather(*(server.connect() for _ in range(100)))
        for client in clients:
            client.send("1")
        for client in clients:
            assert int(await client.receive()) in range(1, 7)
        assert asyncio.get_running_loop().time() - began < 20


def test_satisfies_what_every_handler_must() -> None:
    check_handler(Dice, messages=["3", "many", "0"], repeatable=False)


def test_answers_other_clients(vespiary_server: ServerFactory) -> None:
    server = vespiary_server(Dice())
    with connect(server.url) as client:
        client.send("0")
        assert client.recv() == "say a number from 1 to 100"
