"""Talk to two nodes of a cluster: cluster.py URL URL."""

import sys
import time

from patience import SECONDS
from websockets.sync.client import ClientConnection, connect

from vespiary.prove.memory.work import report_work


def until(client: ClientConnection, wanted: str) -> None:
    """Receive until a message comes."""
    end = time.monotonic() + SECONDS
    while client.recv(timeout=SECONDS) != wanted:
        assert time.monotonic() < end, f"{wanted!r} did not come"


def until_here(client: ClientConnection, names: str) -> None:
    """Ask who is there, until these are."""
    end = time.monotonic() + SECONDS
    answer = ""
    while answer != f"here: {names}":
        assert time.monotonic() < end, f"expected {names}; {answer}"
        client.send("who")
        while not (answer := str(client.recv(timeout=SECONDS))).startswith("here: "):
            pass


first, second = sys.argv[1:]
end = time.monotonic() + 3
number = 0
while time.monotonic() < end or number < 3:
    number += 1
    with connect(first, proxy=None) as ann, connect(second, proxy=None) as bob:
        ann.send("Ann")
        bob.send("Bob")
        for client in (ann, bob):
            until_here(client, "Ann, Bob")
        ann.send(f"hello {number}")
        for client in (ann, bob):
            until(client, f"Ann: hello {number}")
        bob.send(f"topic honey {number}")
        for client in (ann, bob):
            until(client, f"topic honey {number}")
        ann.close()
        until_here(bob, "Bob")
    report_work()
