"""The example that stores keys and values."""

import socket

import pytest

from .conftest import Start

pytestmark = pytest.mark.acceptance


def ask(address: tuple[str, int], *commands: bytes) -> list[bytes]:
    with socket.create_connection(address, 20) as client, client.makefile("rb") as answers:
        client.sendall(b"".join(command + b"\n" for command in commands))
        return [answers.readline().rstrip(b"\r\n") for _ in commands]


def test_what_one_client_stores_another_finds(start: Start) -> None:
    example = start("key_value_server.py", "tcp://127.0.0.1:0")
    assert ask(example.address, b"set bee worker", b"set hornet  crabro sp.") == [b"OK", b"OK"]
    found = ask(example.address, b"get bee", b"get hornet", b"get wasp", b"keys")
    assert found == [b"worker", b"crabro sp.", b"NONE", b"bee hornet"]
    assert ask(example.address, b"delete bee", b"delete bee") == [b"1", b"0"]
    example.stop()


def test_wrong_commands_are_answered_and_quit_ends_the_connection(start: Start) -> None:
    example = start("key_value_server.py", "tcp://127.0.0.1:0")
    answers = ask(example.address, b"", b"get", b"drop table", b"quit", b"get bee")
    assert all(answer.startswith(b"ERROR commands: ") for answer in answers[:3])
    assert answers[3:] == [b"BYE", b""]
    example.stop()
