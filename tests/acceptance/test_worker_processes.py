"""Worker processes on systems that keep no exit status, or have no more processes for a while."""

import os
import signal
from ast import literal_eval

import pytest

from .test_workers import Start, is_answered, received, start

__all__ = ["start"]

pytestmark = pytest.mark.acceptance


def test_a_server_that_was_started_with_sigchld_ignored_replaces_its_workers(start: Start) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        program = start(2)
    finally:
        signal.signal(signal.SIGCHLD, before)
    os.kill(program.pids()[1], signal.SIGKILL)
    program.wait_for("Worker 1 is back")
    assert "was killed by SIGKILL" in program.output
    program.process.send_signal(signal.SIGTERM)
    assert program.wait_ended() == 0


def test_a_process_that_cannot_be_forked_is_tried_again_while_the_others_serve(
    start: Start,
) -> None:
    program = start(2, FAIL_FORK="3")
    client = program.connect_to(2)
    os.kill(program.pids()[1], signal.SIGKILL)
    program.wait_for("Worker 1 cannot be started: .*Resource temporarily unavailable")
    assert is_answered(client)
    program.wait_for("Worker 1 is back")
    assert is_answered(client)
    client.send("count")
    workers = literal_eval(received(client))[2]
    assert [started for _, _, started, _ in workers] == [2, 1]


def test_a_first_process_that_cannot_be_forked_ends_the_start_with_an_error(start: Start) -> None:
    program = start(2, is_serving=False, FAIL_FORK="2")
    assert program.wait_ended() != 0
    assert "its process cannot be started: [Errno 11]" in program.output
