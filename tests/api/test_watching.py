"""Foreign descriptors on Vespiary's loop behave as on the stock one: what is refused, what ends."""

import contextlib
import errno
import math
import os
import selectors
import socket
import time
from pathlib import Path
from unittest import mock

import pytest

from vespiary.loop import Loop


def run_for(loop: Loop, seconds: float) -> int:
    """Run the loop; how many turns the port took."""
    before = loop.core.port_statistics()["turns"]
    loop.call_later(seconds, loop.stop)
    loop.run_forever()
    turns: int = loop.core.port_statistics()["turns"] - before
    return turns


@pytest.mark.parametrize("add", ["add_reader", "add_writer"])
def test_what_cannot_be_watched_is_refused(loop: Loop, add: str, tmp_path: Path) -> None:
    calls: list[int] = []
    with (tmp_path / "file").open("wb+") as file:
        closed = socket.socket()
        number = closed.fileno()
        closed.close()
        for descriptor, code in ((file.fileno(), errno.EPERM), (number, errno.EBADF)):
            with pytest.raises(OSError) as caught:  # noqa: PT011 - Its number is what counts.
                getattr(loop, add)(descriptor, calls.append, 1)
            assert caught.value.errno == code
    assert run_for(loop, 0.02) < 20
    assert calls == []
    with pytest.raises(ValueError, match="file"):
        getattr(loop, add)(mock.Mock(), calls.append, 1)


def test_a_writer_waits_in_peace_when_the_socket_is_full_and_the_peer_has_finished_sending(
    loop: Loop,
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(bytes(8192))
        theirs.shutdown(socket.SHUT_WR)
        calls: list[int] = []
        loop.add_writer(ours, calls.append, 1)
        assert run_for(loop, 0.1) < 20
        assert calls == []
        loop.remove_writer(ours)


@pytest.mark.parametrize("removes", [True, False])
def test_a_watched_socket_that_is_closed_is_gone_at_once(loop: Loop, removes: bool) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    ours, theirs = socket.socketpair()
    loop.add_reader(listener, lambda: None)
    loop.add_reader(ours, lambda: None)
    run_for(loop, 0.01)

    def close() -> None:
        if removes:
            loop.remove_reader(listener)
            loop.remove_reader(ours)
        listener.close()
        ours.close()
        theirs.settimeout(10)
        assert theirs.recv(1) == b""
        socket.create_server(address).close()

    loop.call_soon(close)
    assert run_for(loop, 0.05) < 20
    theirs.close()


@pytest.mark.parametrize("timeout", [-1.0, -math.inf, -0.0])
def test_a_timeout_below_zero_does_not_wait(loop: Loop, timeout: float) -> None:
    began = time.monotonic()
    assert loop._selector.select(timeout) == []
    assert time.monotonic() - began < 5


def test_a_timeout_that_is_not_a_number_is_an_error_and_an_endless_one_is_none(loop: Loop) -> None:
    selector = loop._selector
    with pytest.raises(ValueError, match="not a number"):
        selector.select(math.nan)
    reading, writing = os.pipe()
    selector.register(reading, selectors.EVENT_READ)
    os.write(writing, b"x")
    for timeout in (math.inf, 1e300, 2.0**63, None):
        assert [key.fd for key, _ in selector.select(timeout)] == [reading]
    selector.unregister(reading)
    os.close(reading)
    os.close(writing)


def test_a_loop_without_connections_has_no_ring(driver: str) -> None:
    def rings() -> int:
        return Path("/proc/self/maps").read_text().count("io_uring")

    before = rings()
    loops = [Loop(driver=driver) for _ in range(5)]
    for loop in loops:
        loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80))
    assert rings() == before
    for loop in loops:
        loop.close()
