"""Worker processes: what can be said of them without starting any."""

import asyncio
import os
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

import vespiary
from tests.waiting import open_descriptors, turns, until
from vespiary.cli.main import main
from vespiary.loop import Loop
from vespiary.workers._backplane import Carried, Inboxes, LocalBackplane, Published
from vespiary.workers._board import Board, State, Word
from vespiary.workers._counters import NAMES_MAX, Counts


class Echo(vespiary.Handler):
    def on_message(self, connection: vespiary.Connection, message: str | bytes) -> None:
        connection.send(message)


def server() -> vespiary.Server:
    made = vespiary.Server()
    made.add(Echo(), "tcp://127.0.0.1:0")
    return made


@pytest.mark.parametrize("count", [0, -1, 1025, True, 2.0, "2"])
def test_a_number_of_workers_that_makes_no_sense_is_refused(count: object) -> None:
    with pytest.raises(vespiary.ConfigurationError, match="workers= takes a whole number from 1"):
        server().run(workers=count)  # type: ignore[arg-type]
    with pytest.raises(vespiary.ConfigurationError, match=r"Workers\.count must be"):
        vespiary.Workers(count)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hang_seconds", 0),
        ("hang_seconds", "30"),
        ("start_seconds", 0),
        ("start_seconds", "90"),
        ("stop_seconds", -1),
        ("memory_bytes_max", 0),
        ("memory_bytes_max", 1.5),
        ("start_failures_max", 0),
        ("restart_seconds_max", -1),
        ("backplane_bytes_max", 0),
    ],
)
def test_a_field_of_workers_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(vespiary.ConfigurationError, match=rf"Workers\.{name} must be") as refused:
        vespiary.Workers(2, **{name: value})  # type: ignore[arg-type]
    assert refused.value.subject == name


def test_a_misspelt_field_of_workers_is_refused_with_the_nearest() -> None:
    with pytest.raises(vespiary.ConfigurationError, match="did you mean 'hang_seconds'"):
        vespiary.Workers(2, hang_second=3)  # type: ignore[call-arg]


def test_the_datagrams_of_a_connection_are_not_spread_over_workers() -> None:
    made = vespiary.Server()
    made.add(Echo(), "udp://127.0.0.1:0", connections=True)
    with pytest.raises(vespiary.ConfigurationError, match="would reach several of them"):
        made.run(workers=2)


def test_workers_are_not_forked_while_another_thread_runs() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="reader")
    thread.start()
    try:
        with pytest.raises(RuntimeError, match=r"other threads run \(.*reader.*on_start"):
            server().run(workers=2)
    finally:
        end.set()
        thread.join()


def test_workers_are_not_forked_from_another_thread() -> None:
    errors: list[Exception] = []

    def run() -> None:
        try:
            server().run(workers=2)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "from the main thread only" in str(errors[0])


def test_workers_are_not_forked_while_a_loop_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    # The test runner's own threads are not the matter here.
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.main_thread()])
    loop = Loop()
    try:
        with pytest.raises(RuntimeError, match="while a Vespiary loop is open"):
            server().run(workers=2)
    finally:
        loop.close()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--worker-hang-seconds", "5"], "--worker-hang-seconds needs --workers"),
        (["--worker-memory-max", "1GiB"], "--worker-memory-max needs --workers"),
        (["--workers", "2", "--reload"], "--reload and --workers exclude each other"),
    ],
)
def test_options_for_workers_that_would_have_no_effect_are_refused(
    arguments: list[str], text: str, tmp_path: Path
) -> None:
    (tmp_path / "echo.py").write_text("import vespiary\nclass Echo(vespiary.Handler): ...\n")
    command = ["serve", str(tmp_path / "echo.py:Echo"), "ws://127.0.0.1:0", *arguments]
    done = CliRunner().invoke(main, command, prog_name="vespiary")
    assert done.exit_code != 0
    assert text in " ".join(done.output.split())


def test_a_board_keeps_what_ended_processes_have_counted() -> None:
    board = Board(1, ["tcp://127.0.0.1:1"])
    for _ in range(3):
        slot = board.take(1)
        assert slot is not None
        slot[Word.STATE] = State.SERVING
        counts = Counts()
        counts.numbers[:4] = [10, 7, 4, 1]  # Accepted, opened, closed, broken.
        counts.names.update({"rlocal": 2, "astatus": 0, "x24": 5})
        counts.write(board.words, slot.first_count(0))
        board.give_back(slot)
        assert slot[Word.STATE] == State.FREE
    (worker,) = board.statistics()
    assert worker.processes_started == 3
    assert worker.process is None
    total = worker.total
    # The three connections of each that were open have ended with it.
    assert total.connections_accepted == 30
    assert total.connections_open == 0
    assert total.connections_closed == 21
    assert total.connections_broken == 12
    assert total.connections_refused == {"local": 6}
    assert total.accept_errors == {"EMFILE": 15}
    board.close()


def test_what_waits_for_a_process_is_not_sent_to_the_one_that_takes_its_slot() -> None:
    asyncio.run(replace_a_process_for_which_messages_wait())


async def replace_a_process_for_which_messages_wait() -> None:
    board, inboxes = Board(1, []), Inboxes(2)
    slot = board.slots[1]
    slot[Word.STATE], slot[Word.PROCESS] = State.SERVING, 1001
    sender = LocalBackplane(inboxes, board, 0, 1 << 30)
    while not sender._queues[1].packets:
        sender.publish(Published("topic", "x" * 50_000))
    # Its process has ended, and another serves there before the sender's loop runs.
    slot[Word.PROCESS] = 1002
    receiver = LocalBackplane(inboxes, board, 1, 1 << 30)
    received: asyncio.Queue[Carried] = asyncio.Queue()
    receiver.start(received.put_nowait)
    await turns()
    sender.publish(Published("topic", "after"))
    assert (await received.get()).message == "after"
    assert received.empty()
    sender.stop()
    receiver.stop()
    inboxes.close()
    board.close()


def test_a_large_message_without_a_descriptor_for_it_is_dropped_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asyncio.run(publish_without_descriptors(caplog))


async def publish_without_descriptors(caplog: pytest.LogCaptureFixture) -> None:
    board, inboxes = Board(1, []), Inboxes(2)
    for slot in board.slots:
        slot[Word.STATE] = State.SERVING
    sender = LocalBackplane(inboxes, board, 0, 1 << 30)
    receiver = LocalBackplane(inboxes, board, 1, 1 << 30)
    received: asyncio.Queue[Carried] = asyncio.Queue()
    receiver.start(received.put_nowait)
    large = Published("topic", "x" * 50_000)
    sender.publish(large)
    with no_descriptors():
        # Neither side can open a file, and small messages need none.
        await until(lambda: board.slots[1][Word.DROPPED])
        sender.publish(large)
        sender.publish(Published("topic", "small"))
        assert (await received.get()).message == "small"
    sender.publish(large)
    assert await received.get() == large
    assert received.empty()
    assert [slot[Word.DROPPED] for slot in board.slots] == [1, 1]
    assert "Dropping large published messages for other workers" in caplog.text
    assert "Dropping large messages of other workers" in caplog.text
    receiver.stop()
    inboxes.close()
    board.close()


def test_messages_that_wait_for_a_worker_that_hangs_hold_no_descriptors() -> None:
    asyncio.run(publish_to_a_worker_that_hangs())


async def publish_to_a_worker_that_hangs() -> None:
    board, inboxes = Board(1, []), Inboxes(2)
    board.slots[1][Word.STATE] = State.SERVING
    sender = LocalBackplane(inboxes, board, 0, 1 << 30)
    before = open_descriptors()
    while len(sender._queues[1].packets) < 50:
        sender.publish(Published("topic", "x" * 50_000))
    assert open_descriptors() == before
    sender.stop()
    inboxes.close()
    board.close()


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process have no more descriptors than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as highest:
        most = highest.fileno() + 1
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in taken:
            os.close(one)


def test_a_slot_whose_process_could_not_be_started_is_free_again_and_not_counted() -> None:
    board = Board(1, [])
    slot = board.take(1)
    assert slot is not None
    board.give_back_unused(slot)
    assert slot[Word.STATE] == State.FREE
    assert board.statistics()[0].processes_started == 0
    board.close()


def test_a_board_has_two_slots_for_each_worker() -> None:
    board = Board(2, [])
    assert all(board.take(number) is not None for number in (1, 1, 2, 2))
    assert board.take(1) is None
    board.close()


def test_names_beyond_the_room_for_them_are_left_out() -> None:
    board = Board(1, ["tcp://127.0.0.1:1"])
    counts = Counts()
    counts.names.update({f"a{number}": 1 for number in range(NAMES_MAX + 5)})
    counts.write(board.words, board.slots[0].first_count(0))
    assert len(board.slots[0].counts(0).names) == NAMES_MAX
    board.close()
