"""Workers that are held up in their start or stop: the supervisor notices, and a stop ends."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from .test_workers import Program

pytestmark = pytest.mark.acceptance

HELD = Path(__file__).with_name("held_worker_program.py")
IN_THE_HOOK = r'File ".*held_worker_program\.py", line \d+ in on_{}'

Start = Callable[..., Program]


@pytest.fixture
def start(driver: str, tmp_path: Path) -> Iterator[Start]:
    started: list[Program] = []

    def begin(count: int = 1, **settings: Any) -> Program:
        url = "ws://127.0.0.1:0"
        program = Program(driver, url, count, settings, program=HELD, FOLDER=str(tmp_path))
        started.append(program)
        return program

    yield begin
    for one in started:
        one.end()


@pytest.fixture(params=["blocks", "waits"])
def hold(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], None]:
    """Have the first worker held up in this stage: its loop blocked, or a task that waits."""

    def begin(stage: str) -> None:
        file = tmp_path / stage
        if request.param == "blocks":
            os.mkfifo(file)
        else:
            file.touch()

    return begin


def test_the_server_does_not_start_when_a_worker_is_held_up_in_its_start(
    start: Start, hold: Callable[[str], None]
) -> None:
    hold("start")
    program = start(2, start_seconds=1.0)
    assert program.wait_ended() == 1
    program.wait_for(r"Killing worker 1 .*: its start has taken longer than start_seconds, 1 s")
    assert "Current thread" in program.output or "Thread 0x" in program.output
    assert "WorkerFailed: worker 1 could not start: its process was killed by SIGKILL" in (
        program.output
    )
    assert "Serving" not in program.output
    assert "on_serving [" not in program.output


def test_a_worker_that_blocks_in_its_start_is_killed_and_tried_again(
    start: Start, tmp_path: Path
) -> None:
    program = start(2, start_seconds=5.0, start_failures_max=1000, restart_seconds_max=0.01)
    program.wait_serving()
    os.mkfifo(tmp_path / "start")
    os.kill(program.pids()[1], signal.SIGKILL)
    program.wait_for(r"Killing worker 1 \(process \d+\): its start has taken longer")
    program.wait_for(IN_THE_HOOK.format("start"))
    (tmp_path / "start").unlink()
    program.wait_for("Worker 1 is back")
    program.connect_to(1)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"hang_seconds": 0.5}, "its event loop was blocked for"),
        (
            {"hang_seconds": None, "stop_seconds": 0.5},
            r"it has not ended .* s after it began to stop; its start has not returned",
        ),
    ],
)
def test_one_signal_stops_a_server_whose_worker_blocks_in_its_start(
    start: Start, tmp_path: Path, settings: dict[str, Any], why: str
) -> None:
    os.mkfifo(tmp_path / "start")
    program = start(2, **settings)
    program.wait_for(r"started 1 \d+")
    program.process.send_signal(signal.SIGTERM)
    assert program.wait_ended() == 0
    program.wait_for(rf"Killing worker 1 \(process \d+\): {why}")
    program.wait_for(IN_THE_HOOK.format("start"))
    assert "Serving" not in program.output
    assert "returned" in program.output


def test_one_signal_stops_a_server_whose_replaced_worker_blocks_in_its_start(
    start: Start, tmp_path: Path
) -> None:
    program = start(2, hang_seconds=1.0, restart_seconds_max=0.01)
    program.wait_serving()
    os.mkfifo(tmp_path / "start")
    first = program.pids()[1]
    os.kill(first, signal.SIGKILL)
    program.wait_for(rf"started 1 (?!{first}$)\d+$")
    program.process.send_signal(signal.SIGTERM)
    assert program.wait_ended() == 0
    program.wait_for(r"Killing worker 1 \(process \d+\): its event loop was blocked for")


def test_one_signal_stops_a_server_whose_worker_is_held_up_in_its_stop(
    start: Start, hold: Callable[[str], None]
) -> None:
    hold("stop")
    program = start(2, hang_seconds=60.0, stop_seconds=0.5)
    program.wait_serving()
    program.process.send_signal(signal.SIGTERM)
    assert program.wait_ended() == 0
    program.wait_for(
        r"Killing worker 1 \(process \d+\): it has not ended .* s after it began to stop; its on_st"
    )
    program.wait_for(r"Worker 2 \(process \d+\) ended with status 0")


def test_a_worker_that_gets_a_signal_and_is_held_up_in_its_stop_is_replaced(
    start: Start, hold: Callable[[str], None]
) -> None:
    program = start(2, hang_seconds=60.0, stop_seconds=0.5, restart_seconds_max=0.01)
    program.wait_serving()
    hold("stop")
    os.kill(program.pids()[1], signal.SIGTERM)
    program.wait_for(r"Killing worker 1 \(process \d+\): it has not ended")
    program.wait_for("Worker 1 is back")
    program.connect_to(1)


def test_a_drain_that_the_program_has_asked_for_is_not_cut_short(
    start: Start, tmp_path: Path
) -> None:
    program = start(1, stop_seconds=0.5)
    program.wait_serving()
    client, _ = program.connect()
    (tmp_path / "stop").touch()
    with suppress(OSError):
        client.send("stop with a drain of 5 s")
    program.wait_for(r"Killing worker 1 \(process \d+\): it has not ended (?:[5-9]|\d\d)\.\d s")
    assert program.wait_ended() == 0
    assert "at once" not in program.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_ends_after_the_signal_does_not_say_that_the_server_serves(
    start: Start, tmp_path: Path, number: int
) -> None:
    fifo = tmp_path / "start"
    os.mkfifo(fifo)
    program = start(1)
    program.wait_for(r"started 1 \d+")
    program.process.send_signal(number)
    program.wait_for("Stopping 1 workers")
    fifo.write_bytes(b"go on")
    assert program.wait_ended() == 0
    assert "Serving" not in program.output
    assert "on_serving [" not in program.output
    assert "stopped 1" in program.output


def test_a_start_that_blocks_longer_than_hang_seconds_is_not_taken_for_a_hang(
    start: Start, tmp_path: Path
) -> None:
    fifo = tmp_path / "start"
    os.mkfifo(fifo)
    program = start(1, hang_seconds=0.5)
    program.wait_for(r"started 1 \d+")
    # Another program with the same settings, which is killed meanwhile.
    other = start(1, hang_seconds=0.5)
    other.wait_for(r"started 1 \d+")
    other.process.send_signal(signal.SIGTERM)
    assert other.wait_ended() == 0
    assert "its event loop was blocked" in other.output
    fifo.write_bytes(b"go on")
    program.wait_serving()
    program.connect()
    assert "Killing" not in program.output


def test_a_signal_that_meets_the_writing_of_a_log_line_stops_the_server(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "interrupted").touch()
    program = start(2)
    assert program.wait_ended() == 0
    assert "a line within another one" not in program.output
    assert program.output.index("logged Serving") < program.output.index("logged Received SIGTERM")
    assert "returned" in program.output
