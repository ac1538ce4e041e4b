"""How long a runner and the agents of its hosts are silent before one takes the other for lost."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until
from vespiary.prove.acceptance.hosts import agent
from vespiary.prove.acceptance.hosts.agent import SILENCE_SECONDS, Agent
from vespiary.prove.acceptance.hosts.remote import Remote
from vespiary.prove.acceptance.hosts.shipping import Archive, Cargo
from vespiary.prove.acceptance.suite import Host


class Line:
    """An agent's channel on which messages arrive at given times."""

    TimeoutError = TimeoutError

    def __init__(self, *messages: tuple[float, tuple[Any, ...]]) -> None:
        self.now = 0.0
        self.said: list[tuple[Any, ...]] = []
        self._messages = list(messages)

    def receive(self, seconds: float) -> tuple[Any, ...]:
        """The next message, if it comes in time."""
        if not self._messages or self._messages[0][0] > self.now + seconds:
            self.now += seconds
            raise self.TimeoutError
        at, message = self._messages.pop(0)
        self.now = max(self.now, at)
        return message

    def send(self, message: tuple[Any, ...]) -> None:
        """What the agent says."""
        self.said.append(message)


def serve(line: Line, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let an agent serve on this line; what it said apart from signs of life."""
    monkeypatch.setattr("vespiary.prove.acceptance.hosts.agent.time.monotonic", lambda: line.now)
    Agent(line).serve()
    return [str(message) for message in line.said if message != ("alive",)]


def test_an_agent_that_hears_nothing_ends_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line()
    said = serve(line, monkeypatch)
    assert line.now == pytest.approx(SILENCE_SECONDS, abs=1)
    assert said == ["('broken', 'it heard nothing from here for 20 s')"]


def test_what_waited_while_an_agent_had_much_to_do_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = Line((1.0, ("ship", "a", b"", True)), (3.0, ("alive",)), (90.0, ("end",)))

    def unpack(self: Agent, name: str, data: bytes) -> None:
        line.now += 4 * SILENCE_SECONDS

    monkeypatch.setattr(Agent, "_unpack", unpack)
    assert serve(line, monkeypatch) == []


def test_pieces_of_an_archive_become_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    whole: list[bytes] = []
    monkeypatch.setattr(Agent, "_unpack", lambda self, name, data: whole.append(data))
    pieces = [("ship", "a", b"one", False), ("ship", "a", b" two", True), ("end",)]
    serve(Line(*((0.0, piece) for piece in pieces)), monkeypatch)
    assert whole == [b"one two"]


class Slow:
    """A runner's channel to a host that takes no archive until it may."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.may_ship = threading.Event()
        self.error: Exception | None = None

    def send(self, message: tuple[Any, ...]) -> None:
        """Wait with what is shipped."""
        if message[0] == "ship":
            self.may_ship.wait()
        if self.error is not None:
            raise self.error
        self.sent.append(message)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[Slow], Remote]:
    """Makes a host that is connected by this channel."""
    pytest.importorskip("execnet")

    def make(channel: Slow) -> Remote:
        monkeypatch.setattr(Remote, "_connect", lambda self: None)
        cargo = Cargo([], Archive("a", bytes(3 * agent.PIECE_BYTES)))
        remote = Remote("far", Host(ssh="nowhere"), cargo, Path())
        remote._channel = channel
        return remote

    return make


def test_other_hosts_do_not_wait_while_one_is_sent_its_files(
    connect: Callable[[Slow], Remote],
) -> None:
    channel = Slow()
    remote = connect(channel)
    remote._events.put(("lacks", ["a"]))
    assert remote.step() == []
    assert not channel.sent
    channel.may_ship.set()
    wait_until(lambda: channel.sent and channel.sent[-1][0] == "paths")
    assert [message[-1] for message in channel.sent[:-1]] == [False, False, True]
    remote.close()


def test_a_host_that_is_gone_is_lost_for_the_reason_that_it_gave(
    connect: Callable[[Slow], Remote],
) -> None:
    channel = Slow()
    channel.error = OSError("closed")
    remote = connect(channel)
    remote._events.put(("broken", "OSError: the disk is full"))
    remote._send("alive")
    assert remote.lost == "OSError: the disk is full"
    remote.close()
