"""The POP3 example, used by Python's poplib and by hand."""

import poplib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

import pytest

from .conftest import Example, Start

pytestmark = pytest.mark.acceptance


@contextmanager
def session(example: Example, user: str = "ann", password: str = "wasp") -> Iterator[poplib.POP3]:
    host, port = example.address
    client = poplib.POP3(host, port, timeout=10)
    try:
        client.user(user)
        client.pass_(password)
        yield client
    finally:
        client.close()


@contextmanager
def conversation(example: Example) -> Iterator["Conversation"]:
    with (
        socket.create_connection(example.address, 10) as client,
        client.makefile("rb") as lines,
    ):
        yield Conversation(client, lines)


class Conversation:
    """Lines by hand, for what poplib does not say."""

    def __init__(self, client: socket.socket, lines: BinaryIO) -> None:
        self.client = client
        self.lines = lines

    def read(self) -> str:
        line = self.lines.readline()
        assert line.endswith(b"\r\n") or not line
        return line.decode().rstrip()

    def say(self, command: str) -> str:
        self.client.sendall(command.encode() + b"\r\n")
        return self.read()


def test_a_mailbox_is_listed_and_read_with_every_octet_counted(start: Start) -> None:
    example = start("pop3_server.py", "tcp://127.0.0.1:0")
    with session(example) as client:
        count, octets = client.stat()
        assert count == 3
        _, listing, _ = client.list()
        sizes = [int(line.split()[1]) for line in listing]
        assert sum(sizes) == octets
        for number, size in enumerate(sizes, 1):
            _, lines, _ = client.retr(number)
            assert sum(len(line) + 2 for line in lines) == size
        _, lines, _ = client.retr(2)
        assert lines[-4:] == [
            b".begins with a dot",
            b"..with two",
            b".",
            b"and goes on after a lone one",
        ]
        _, lines, _ = client.retr(3)
        assert "蜂の巣".encode() in b"\n".join(lines)
        assert len(lines) > 2000
        client.quit()
    example.stop()


def test_top_gives_the_header_and_so_many_lines(start: Start) -> None:
    example = start("pop3_server.py", "tcp://127.0.0.1:0")
    with session(example) as client:
        _, header, _ = client.top(1, 0)
        assert header[-1] == b""
        _, lines, _ = client.top(1, 1)
        assert lines == [*header, b"This mailbox lives in memory."]
        _, lines, _ = client.top(1, 100)
        assert lines == client.retr(1)[1]
    example.stop()


def test_names_of_messages_are_unique_and_stay(start: Start) -> None:
    example = start("pop3_server.py", "tcp://127.0.0.1:0")
    with session(example) as client:
        _, first, _ = client.uidl()
        client.quit()
    with session(example) as client:
        _, again, _ = client.uidl()
        assert again == first
        assert len({line.split()[1] for line in first}) == 3
        assert client.uidl(2).split()[1:] == first[1].split()
    example.stop()


def test_messages_are_deleted_by_quit_and_not_otherwise(start: Start) -> None:
    example = start("pop3_server.py", "tcp://127.0.0.1:0")
    with session(example) as client:
        client.dele(1)
        assert client.stat()[0] == 2
        with pytest.raises(poplib.error_proto, match="no such message"):
            client.retr(1)
        client.rset()
        assert client.stat()[0] == 3
        client.dele(1)
    assert count_soon(example) == 3
    with session(example) as client:
        client.dele(1)
        client.quit()
    with session(example) as client:
        assert client.stat()[0] == 2
        assert client.retr(1)[1][2] == b"Subject: Dots"
    example.stop()


def count_soon(example: Example) -> int:
    """The number of messages, once the previous session has released the mailbox."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with suppress(poplib.error_proto), session(example) as client:
            return int(client.stat()[0])
        time.sleep(0.02)
    raise AssertionError("the previous session does not release the mailbox")


def test_one_session_at_a_time_holds_a_mailbox(start: Start) -> None:
    example = start("pop3_server.py", "tcp://127.0.0.1:0")
    with session(example):
        with pytest.raises(poplib.error_proto, match="IN-USE"), session(example):
            pass
        with session(example, "bob", "nest") as other:
            assert other.stat() == (0, 0)
    assert count_soon(example) == 3
    example.stop()


def test_wrong_passwords_are_answered_late_and_the_third_ends_it(start: Start) -> None:
    example = start("pop3_server.py", "tcp://127.0.0.1:0")
    began = time.monotonic()
    with conversation(example) as talk:
        assert talk.read().startswith("+OK")
        for _ in range(3):
            # Both in one packet: what follows a wrong password must wait like everything else.
            talk.client.sendall(b"USER ann\r\nPASS nonsense\r\n")
            assert talk.read().startswith("+OK")
            assert talk.read() == "-ERR [AUTH] wrong name or password"
        assert talk.read() == ""
    assert time.monotonic() - began > 1.4
    example.stop()


def test_commands_are_refused_in_the_wrong_state(start: Start) -> None:
    example = start("pop3_server.py", "tcp://127.0.0.1:0")
    with conversation(example) as talk:
        assert talk.read().startswith("+OK")
        assert talk.say("STAT") == "-ERR no such command in this state"
        assert talk.say("PASS wasp") == "-ERR USER comes first"
        assert talk.say("user ann").startswith("+OK")
        assert talk.say("pass wasp").startswith("+OK")
        assert talk.say("USER bob") == "-ERR no such command in this state"
        for wrong in ("RETR", "RETR x", "RETR 0", "RETR 4", "LIST x", "TOP 1", "DELE -1", "RETR ²"):
            assert talk.say(wrong).startswith("-ERR"), wrong
        assert talk.say("noop") == "+OK"
        assert talk.say("QUIT") == "+OK goodbye"
        assert talk.read() == ""
    example.stop()


def test_pipelined_commands_are_answered_in_order(start: Start) -> None:
    example = start("pop3_server.py", "tcp://127.0.0.1:0")
    with conversation(example) as talk:
        talk.client.sendall(b"USER ann\r\nPASS wasp\r\nDELE 1\r\nSTAT\r\nRSET\r\nCAPA\r\nQUIT\r\n")
        replies = [line.decode().rstrip() for line in talk.lines]
    assert [reply for reply in replies if reply.startswith("-")] == []
    assert "PIPELINING" in replies
    assert replies[-1] == "+OK goodbye"
    example.stop()


def test_a_line_without_end_ends_the_connection(start: Start) -> None:
    example = start("pop3_server.py", "tcp://127.0.0.1:0")
    with conversation(example) as talk:
        talk.read()
        talk.client.sendall(b"USER " + b"a" * 1000)
        with suppress(ConnectionResetError):
            assert talk.client.recv(100) == b""
    with session(example) as client:
        assert client.stat()[0] == 3
    example.stop()
