"""A server in several processes: each may end in any way, and nothing is left behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from ast import literal_eval
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.waiting import wait_until

pytestmark = pytest.mark.acceptance

PROGRAM = Path(__file__).with_name("worker_program.py")
STARTED = re.compile(r"started (\d+) (\d+)$", re.M)
SECONDS = 60.0


class Program:
    """`worker_program.py`, or another program of workers, running."""

    def __init__(
        self,
        driver: str,
        url: str,
        count: int,
        settings: dict[str, Any],
        *,
        program: Path = PROGRAM,
        arguments: Sequence[str] = (),
        **variables: str,
    ) -> None:
        command = [sys.executable, "-W", "error", str(program), url, str(count), *arguments]
        command += [f"{name}={value!r}" for name, value in settings.items()]
        environment = os.environ | {"VESPIARY_DRIVER": driver} | variables
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.url = ""
        self._clients = ExitStack()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until a line of its output is like this."""
        return wait_until(lambda: re.search(pattern, self.output, re.M), lambda: self.output)

    def wait_serving(self) -> None:
        self.url = self.wait_for(r"Serving (\S+)$").group(1)

    def pids(self) -> dict[int, int]:
        """The latest process of each worker."""
        return {int(number): int(pid) for number, pid in STARTED.findall(self.output)}

    def connect(self) -> tuple[ClientConnection, int]:
        """A new connection, and the worker that has it."""
        client = self._clients.enter_context(
            connect(self.url, max_size=None, open_timeout=SECONDS, close_timeout=1)
        )
        client.send("who")
        return client, int(received(client).split()[0])

    def connect_to(self, worker: int) -> ClientConnection:
        """A connection to this worker."""

        def attempt() -> ClientConnection | None:
            client, found = self.connect()
            if found == worker:
                return client
            client.close()
            return None

        return wait_until(attempt, lambda: self.output)

    def wait_ended(self) -> int:
        """Its status when it has ended; its processes have ended, too."""
        status = self.process.wait(SECONDS)
        self._reader.join(SECONDS)  # Its end: no process has the pipe any more.
        assert not self._reader.is_alive(), self.output
        for _, pid in STARTED.findall(self.output):
            wait_until(partial(has_ended, pid), lambda: self.output)
        return status

    def end(self) -> None:
        self._clients.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


def has_ended(pid: str) -> bool:
    """Whether a process has ended; where its parent was killed, init may not know yet."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    return "State:\tZ" in status


def received(client: ClientConnection) -> str:
    message = client.recv(timeout=SECONDS)
    assert isinstance(message, str)
    return message


def is_answered(client: ClientConnection) -> bool:
    client.send("still here")
    return received(client) == "still here"


def ended_with(client: ClientConnection) -> ConnectionClosed:
    with pytest.raises(ConnectionClosed) as closed:
        receive_all(client)
    return closed.value


def receive_all(client: ClientConnection) -> None:
    while True:
        client.recv(timeout=SECONDS)


Start = Callable[..., Program]


@pytest.fixture
def start(driver: str) -> Iterator[Start]:
    started: list[Program] = []

    def begin(
        count: int = 2, *, url: str = "ws://127.0.0.1:0", is_serving: bool = True, **given: Any
    ) -> Program:
        variables = {name: given.pop(name) for name in list(given) if name.isupper()}
        program = Program(driver, url, count, given, **variables)
        started.append(program)
        if is_serving:
            program.wait_serving()
        return program

    yield begin
    for one in started:
        one.end()


def test_sigterm_drains_every_worker_and_leaves_no_process(start: Start) -> None:
    program = start(3)
    clients = [program.connect_to(worker) for worker in (1, 2, 3)]
    program.process.send_signal(signal.SIGTERM)
    for client in clients:
        closed = ended_with(client)
        assert closed.rcvd is not None
        assert closed.rcvd.code == 1001
    assert program.wait_ended() == 0
    assert sorted(re.findall(r"stopped (\d) \d+$", program.output, re.M)) == ["1", "2", "3"]
    assert "Traceback" not in program.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_to_the_whole_group_are_one_request_and_drain(start: Start, number: int) -> None:
    program = start(2)
    client = program.connect_to(2)
    # The workers first, so that they get the supervisor's request after the signal.
    for pid in [*program.pids().values(), program.process.pid]:
        os.kill(pid, number)
    assert ended_with(client).rcvd is not None
    assert program.wait_ended() == 0
    assert "at once" not in program.output


def test_a_second_signal_ends_connections_that_stay_open(start: Start) -> None:
    program = start(2, STAY_OPEN="1")
    client = program.connect_to(1)
    program.process.send_signal(signal.SIGTERM)
    program.wait_for("worker-1 Stopping: waiting")
    assert is_answered(client)
    program.process.send_signal(signal.SIGTERM)
    ended_with(client)
    assert program.wait_ended() == 0
    assert "Stopping at once" in program.output


def test_a_killed_worker_is_replaced_and_the_others_notice_nothing(start: Start) -> None:
    program = start(2)
    killed, other = program.connect_to(1), program.connect_to(2)
    before = program.pids()
    os.kill(before[1], signal.SIGKILL)
    assert ended_with(killed).rcvd is None
    program.wait_for(r"Worker 1 \(process \d+\) was killed by SIGKILL")
    program.wait_for("Worker 1 is back")
    assert is_answered(other)
    assert is_answered(program.connect_to(1))
    assert program.pids()[1] != before[1]
    assert program.pids()[2] == before[2]
    program.process.send_signal(signal.SIGTERM)
    assert program.wait_ended() == 0


def test_a_worker_that_gets_sigterm_by_itself_drains_and_is_replaced(start: Start) -> None:
    program = start(2)
    client = program.connect_to(2)
    os.kill(program.pids()[2], signal.SIGTERM)
    closed = ended_with(client)
    assert closed.rcvd is not None
    assert closed.rcvd.code == 1001
    program.wait_for("Worker 2 is back")
    assert is_answered(program.connect_to(2))


def test_workers_end_with_their_supervisor(start: Start) -> None:
    program = start(2)
    client = program.connect_to(1)
    program.process.kill()
    ended_with(client)
    assert program.wait_ended() == -signal.SIGKILL
    port = int(program.url.rpartition(":")[2].rstrip("/"))

    def is_free() -> bool:
        with suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            return True
        return False

    # The kernel takes an io_uring instance apart after its process has ended.
    wait_until(is_free)


def test_a_handler_that_stops_the_server_stops_all_workers(start: Start) -> None:
    program = start(2)
    program.connect_to(2).send("stop")
    assert program.wait_ended() == 0
    assert "at once" not in program.output
    assert "The program stops the server, in worker 2" in program.output


def test_a_start_that_fails_ends_everything_with_an_error(start: Start) -> None:
    program = start(2, is_serving=False, FAIL_START="2")
    assert program.wait_ended() == 1
    assert "RuntimeError: the database is not there" in program.output
    assert "WorkerFailed: worker 2 could not start: its process ended with status 1" in (
        program.output
    )
    assert "Serving" not in program.output


def test_the_server_stops_when_a_worker_fails_to_start_again_and_again(
    start: Start, tmp_path: Path
) -> None:
    program = start(
        1, start_failures_max=2, restart_seconds_max=0.01, BROKEN=str(tmp_path / "broken")
    )
    client, _ = program.connect()
    # What on_start raises from now on.
    with suppress(ConnectionClosed):
        client.send("break")
        client.send("exit 3")
    program.wait_for(r"Worker 1 \(process \d+\) ended with status 3")
    assert program.wait_ended() == 1
    assert "for the time number 2" in program.output


def test_a_hung_worker_is_replaced_with_its_stacks_in_the_log(start: Start) -> None:
    program = start(2, hang_seconds=1.0)
    hung, other = program.connect_to(1), program.connect_to(2)
    hung.send("hang")
    program.wait_for(r"Killing worker 1 \(process \d+\): its event loop was blocked for \d")
    program.wait_for(r'File ".*worker_program\.py", line \d+ in on_message')
    ended_with(hung)
    program.wait_for("Worker 1 is back")
    assert is_answered(other)
    assert is_answered(program.connect_to(1))


def test_a_worker_that_crashes_leaves_its_stacks_in_the_log(start: Start) -> None:
    program = start(1)
    program.connect()
    os.kill(program.pids()[1], signal.SIGSEGV)
    program.wait_for(r"Worker 1 \(process \d+\) was killed by SIGSEGV")
    program.wait_for("Fatal Python error: Segmentation fault")
    program.wait_for("Worker 1 is back")


def test_a_worker_with_too_much_memory_drains_and_is_replaced(start: Start) -> None:
    program = start(2, memory_bytes_max=400 << 20)
    client = program.connect_to(1)
    client.send("grow 500")
    closed = ended_with(client)
    assert closed.rcvd is not None
    assert closed.rcvd.code == 1001
    program.wait_for(r"Replacing worker 1 \(process \d+\): it has \d+ bytes of memory")
    program.wait_for("Worker 1 is back")
    assert is_answered(program.connect_to(1))


def test_a_message_reaches_the_subscribers_of_every_worker_in_order(start: Start) -> None:
    program = start(3)
    clients = [program.connect_to(worker) for worker in (1, 2, 3)]
    large = "ü" * 200_000
    for text in ["first", large, "last"]:
        clients[1].send(f"publish {text}")
    for client in clients:
        assert [received(client) for _ in range(3)] == ["first", large, "last"]
    clients[0].send(b"\0bytes")
    for client in clients:
        assert client.recv(timeout=SECONDS) == b"\0bytes"


def id_of(client: ClientConnection) -> str:
    client.send("id")
    return received(client)


def send_to(client: ClientConnection, connection_id: str, text: str) -> str:
    client.send(f"send_to {connection_id} {text}")
    return received(client)


def test_a_connection_is_addressed_by_its_id_from_every_worker(start: Start) -> None:
    program = start(3)
    clients = [program.connect_to(worker) for worker in (1, 2, 3)]
    target, bystander = program.connect_to(2), program.connect_to(2)
    target_id = id_of(target)
    assert id_of(target) == target_id != id_of(bystander)
    large = "ü" * 200_000
    for client in clients:
        for text in ("first", large, "last"):
            assert send_to(client, target_id, text) == "sent True"
        assert [received(target) for _ in range(3)] == ["first", large, "last"]
    assert is_answered(bystander)
    target.close()
    wait_until(lambda: send_to(clients[1], target_id, "late") == "sent False")
    # Another worker cannot know.
    assert send_to(clients[0], target_id, "late") == "sent True"


def test_an_id_of_a_worker_that_was_killed_finds_nobody_in_the_next_one(start: Start) -> None:
    program = start(2)
    sender, target = program.connect_to(1), program.connect_to(2)
    target_id = id_of(target)
    os.kill(program.pids()[2], signal.SIGKILL)
    program.wait_for("Worker 2 is back")
    other = program.connect_to(2)
    other_id = id_of(other)
    assert other_id.rpartition(".")[2] == target_id.rpartition(".")[2]
    send_to(sender, target_id, "for the dead")
    assert send_to(sender, other_id, "for you") == "sent True"
    assert received(other) == "for you"


def test_presence_and_retained_messages_survive_the_end_of_a_worker(start: Start) -> None:
    program = start(3)
    clients = [program.connect_to(worker) for worker in (1, 2, 3)]

    def sees(client: ClientConnection, names: set[str]) -> bool:
        client.send("present")
        return set(received(client).split()) == names

    for client, name in zip(clients, ("Ann", "Bob", "Cat"), strict=True):
        client.send(f"enter {name}")
    for client in clients:
        wait_until(lambda client=client: sees(client, {"Ann", "Bob", "Cat"}))  # type: ignore[misc]
    clients[0].send("retain open")
    os.kill(program.pids()[3], signal.SIGKILL)
    wait_until(lambda: sees(clients[0], {"Ann", "Bob"}), lambda: program.output)
    program.wait_for("Removed 1 member of process")
    program.wait_for("Worker 3 is back")
    back = program.connect_to(3)
    wait_until(lambda: sees(back, {"Ann", "Bob"}), lambda: program.output)

    def retained() -> str:
        back.send("retained")
        return received(back)

    wait_until(lambda: retained() == "open", lambda: program.output)
    clients[1].send("discard")
    wait_until(lambda: retained() == "None", lambda: program.output)


def test_a_hung_worker_delays_no_message_of_the_others(start: Start) -> None:
    program = start(2, hang_seconds=None, backplane_bytes_max=100_000)
    hung, client = program.connect_to(1), program.connect_to(2)
    hung.send("hang")
    message = "x" * 10_000
    for _ in range(200):
        client.send(f"publish {message}")
        assert received(client) == message
    program.wait_for("Dropping published messages for worker 1")
    os.kill(program.pids()[1], signal.SIGKILL)
    program.wait_for("Worker 1 is back")
    back = program.connect_to(1)
    client.send("publish after")
    assert received(back) == "after"


def counted(client: ClientConnection) -> Any:
    client.send("count")
    return literal_eval(received(client))


def test_totals_are_true_wherever_they_are_asked_for_and_stay_when_a_worker_is_killed(
    start: Start,
) -> None:
    program = start(2)
    clients = [program.connect_to(1), program.connect_to(2)]
    accepted, sent = counted(clients[0])[0][1], counted(clients[0])[0][0]
    for client in clients:
        for _ in range(50):
            assert is_answered(client)
    # Each asks with a message, too.
    assert counted(clients[1])[0] == (sent + 101, accepted, 2)
    (numbers, broken, workers, _) = counted(clients[0])
    assert numbers == (sent + 102, accepted, 2)
    assert broken == 0
    assert [one[:3] for one in workers] == [
        (number, pid, 1) for number, pid in sorted(program.pids().items())
    ]
    assert sum(one[3] for one in workers) == numbers[0]

    os.kill(program.pids()[1], signal.SIGKILL)
    ended_with(clients[0])
    program.wait_for("Worker 1 is back")
    (numbers, broken, workers, _) = counted(clients[1])
    assert numbers == (sent + 103, accepted, 1)
    assert broken == 1
    assert [one[:3] for one in workers] == [
        (1, program.pids()[1], 2),
        (2, program.pids()[2], 1),
    ]
    program.process.send_signal(signal.SIGTERM)
    assert program.wait_ended() == 0
    assert f"in all {sent + 103} {accepted}" in program.output


def test_refusals_of_every_worker_are_in_the_totals(start: Start) -> None:
    program = start(2)
    client = program.connect_to(2)
    port = int(program.url.rpartition(":")[2].rstrip("/"))
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), SECONDS) as refused:
            refused.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert refused.recv(100).startswith(b"HTTP/1.1 426")
    # It is counted when the connection has ended.
    wait_until(lambda: counted(client)[3] == {"status_426": 20})


def test_long_lived_connections_are_spread_evenly(start: Start) -> None:
    program = start(4)
    port = int(program.url.rpartition(":")[2].rstrip("/"))
    with ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), SECONDS))
        client, _ = program.connect()

        def spread() -> list[int] | None:
            client.send("spread")
            found = [int(one) for one in received(client).split()]
            return found if sum(found) == 401 else None

        shares = wait_until(spread)
    assert max(shares) <= 1.2 * min(shares), shares


def test_workers_share_a_unix_socket_whose_file_goes_with_the_supervisor(
    start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "socket"
    program = start(2, url=f"unix://{file}")

    def is_echoed() -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(SECONDS)
            client.connect(str(file))
            client.sendall(b"over a file")
            return client.recv(100) == b"over a file"

    assert is_echoed()
    os.kill(program.pids()[1], signal.SIGKILL)
    program.wait_for("Worker 1 is back")
    assert is_echoed()
    program.process.send_signal(signal.SIGTERM)
    assert program.wait_ended() == 0
    assert not file.exists()
