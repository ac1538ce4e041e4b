"""Whether a connection waits on a listening socket, for listeners that are woken too late."""

import socket

import pytest

from tests.waiting import wait_until
from vespiary._listening_sockets import BoundSocket


def test_a_connection_that_waits_is_seen_until_it_is_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        bound = BoundSocket(listening)
        assert not bound.is_awaited()
        with socket.create_connection(listening.getsockname()):
            wait_until(bound.is_awaited)
            accepted, _ = listening.accept()
            accepted.close()
            assert not bound.is_awaited()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_datagrams_that_wait_do_not_count(family: int) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as receiving:
        receiving.bind(("127.0.0.1", 0) if family == socket.AF_INET else "")
        with socket.socket(family, socket.SOCK_DGRAM) as sending:
            sending.sendto(b"hello", receiving.getsockname())
        assert receiving.recv(5, socket.MSG_PEEK) == b"hello"
        assert not BoundSocket(receiving).is_awaited()
