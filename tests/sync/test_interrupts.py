"""The synchronous client where a signal's handler raises in the middle of a call.

It may do so between any two steps of the main thread: Ctrl-C, an alarm, the timeout of a test. Here
that happens at every line of the client in turn.
"""

import contextlib
import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import vespiary
from tests.waiting import wait_until
from vespiary import _background, _mailbox, sync

from .conftest import Serving
from .kit import Echo, on_a_thread

FILES = (sync.__file__, _mailbox.__file__, _background.__file__)
LINES_MAX = 200


class Alarm(BaseException):
    """What the handler of a signal raises."""


async def count(connection: vespiary.Connection) -> None:
    """Send numbers until the connection ends."""
    number = 0
    with contextlib.suppress(vespiary.ConnectionClosed):
        while True:
            connection.send(str(number))
            number += 1
            await connection.drain()


def lines_behind_the_taking() -> range:
    """Lines between which CPython calls no signal handlers, though a trace function can raise."""
    lines, first = inspect.getsourcelines(_mailbox.Mailbox.take)
    start = next(at for at, line in enumerate(lines) if "for item in iter(" in line)
    end = next(at for at, line in enumerate(lines) if "return message" in line)
    return range(first + start + 1, first + end + 1)


def interrupted_at(place: int, act: Callable[[], Any]) -> Any:
    """Call a function, and raise Alarm at a line of the client: the first, the second, ...

    Raises:
        Alarm: there was such a line.
    """
    seen = 0
    safe = lines_behind_the_taking()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal seen
        if frame.f_code.co_filename not in FILES:
            return None
        is_safe = frame.f_code is _mailbox.Mailbox.take.__code__ and frame.f_lineno in safe
        if event in ("call", "line") and not is_safe:
            seen += 1
            if seen == place:
                raise Alarm
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return act()
    finally:
        sys.settrace(before)


def places(act: Callable[[int], bool]) -> int:
    """Call a function with 1, 2, ... until nothing is interrupted; how often it was."""
    for place in range(1, LINES_MAX):
        if not act(place):
            return place - 1
    raise AssertionError("the call does not end")


@pytest.mark.parametrize("messages_max", [1, 4])
def test_receive_can_be_interrupted_at_every_line(serving: Serving, messages_max: int) -> None:
    limits = vespiary.Limits(inbox_messages_max=messages_max)
    expected = 0

    def take(receive: Callable[[], Any]) -> None:
        nonlocal expected
        assert receive() == str(expected)
        expected += 1

    with sync.connect(serving(count).url, limits=limits) as connection:
        mailbox = connection._mailbox

        def interrupt(place: int) -> bool:
            # The call has the most to do where reading is held and one message is left.
            wait_until(lambda: mailbox._is_held)
            while mailbox._waiting.qsize() > 1:
                take(lambda: connection.receive(10))
            was_interrupted = False
            try:
                take(lambda: interrupted_at(place, lambda: connection.receive(10)))
            except Alarm:
                was_interrupted = True
            for _ in range(3 * messages_max):
                take(lambda: connection.receive(10))
            return was_interrupted

        assert places(interrupt) > 10
        connection.abort()


def test_wait_closed_can_be_interrupted_at_every_line(serving: Serving) -> None:
    url = serving(Echo).url
    with sync.connect(url) as connection, sync.connect(url) as other:

        def interrupt(place: int) -> bool:
            try:
                interrupted_at(place, lambda: connection.wait_closed(0))
            except Alarm:
                return True
            except TimeoutError:
                return False
            raise AssertionError("the connection is open")

        assert places(interrupt) > 5
        other.send("still here")
        assert other.receive(10) == "still here"
        assert connection.close(timeout=10).kind == "closed"


class Ending(vespiary.Filter):
    """A filter that wants to end the program."""

    error: type[BaseException] = SystemExit

    def received(self, connection: vespiary.Connection, data: bytes) -> bytes | None:
        raise self.error


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["headers", "async headers", "filter"])
def test_what_would_end_a_program_is_raised_by_the_connect_that_it_belongs_to(
    serving: Serving, place: str, error: type[BaseException]
) -> None:
    def headers() -> dict[str, str]:
        raise error

    async def async_headers() -> dict[str, str]:
        raise error

    class Filter(Ending):
        pass

    Filter.error = error
    options: dict[str, dict[str, Any]] = {
        "headers": {"headers": headers},
        "async headers": {"headers": async_headers},
        "filter": {"filters": [Filter]},
    }
    url = serving(Echo).url
    got: list[Any] = []
    with sync.connect(url) as other:
        with on_a_thread(lambda: got.append(other.receive(10))):
            with pytest.raises(error):
                sync.connect(url, **options[place])
            other.send("not affected")
        assert got == ["not affected"]
        with sync.connect(url) as another:
            another.send("nor this")
            assert another.receive(10) == "nor this"


def test_a_filter_that_would_end_a_program_ends_its_connection_only(serving: Serving) -> None:
    class Later(vespiary.Filter):
        def sending(self, connection: vespiary.Connection, data: bytes) -> bytes | None:
            if connection.is_open and b"end" in data:
                raise SystemExit(3)
            return data

    url = serving(Echo, "tcp://127.0.0.1:0", framing="line").url
    with sync.connect(url, framing="line") as other:
        with sync.connect(url, framing="line", filters=[Later]) as connection:
            connection.send(b"end")
            with pytest.raises(vespiary.ConnectionClosed) as caught:
                connection.receive(10)
            assert isinstance(caught.value.__cause__, SystemExit)
        other.send(b"not affected")
        assert other.receive(10) == b"not affected"


def test_a_callback_that_would_end_a_program_does_not_end_the_loop(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    def leave() -> None:
        raise SystemExit(3)

    with sync.connect(serving(Echo).url) as connection:
        loop = _background.background()._loop
        assert loop is not None
        loop.call_soon_threadsafe(leave)
        connection.send("not affected")
        assert connection.receive(10) == "not affected"
    assert "SystemExit" in caplog.text
