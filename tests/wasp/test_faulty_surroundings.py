"""A service manager, files and rights that are not as they should be: errors, and no hang."""

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Lines, Run

TEXT = """\
{head}
[endpoints.greeter]
url = "tcp://127.0.0.1:0"
plugin = "plug.py:Greeter"
framing = "line"
{more}
"""
EXPECTED = "it has to be a stream socket of the URL's kind"
KINDS = {
    "a file": f"not a socket: {os.strerror(88)}",
    "a datagram socket": EXPECTED,
    "a Unix socket": EXPECTED,
    "a connected socket": "connected to one peer",
}


@contextlib.contextmanager
def full_socket(path: Path) -> Iterator[None]:
    """A notification socket whose manager does not read."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        manager.bind(str(path))
        sender.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sender.sendto(b"x", str(path))
        yield


@pytest.mark.parametrize("workers", ["", "workers = 2"], ids=["alone", "workers"])
def test_a_manager_that_does_not_read_stops_nothing(run: Run, folder: Path, workers: str) -> None:
    path = folder / "notify"
    with full_socket(path):
        environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
        server = run(TEXT.format(head=workers, more=""), environment=environment)
        client = Lines(server.serves(1)[0])
        assert client.ask("bees") == "hello bees 1"
        server.reload()
        assert "Reloaded" in server.log
        client.close()
        assert server.stop() == 0


@contextlib.contextmanager
def passed(kind: str, folder: Path) -> Iterator[int]:
    """What is passed instead of a listening socket."""
    with contextlib.ExitStack() as stack:
        if kind == "a file":
            yield stack.enter_context((folder / "plug.py").open()).fileno()
        elif kind == "a datagram socket":
            made = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            made.bind(("127.0.0.1", 0))
            yield made.fileno()
        elif kind == "a Unix socket":
            made = stack.enter_context(socket.socket(socket.AF_UNIX))
            made.bind(str(folder / "socket"))
            made.listen()
            yield made.fileno()
        else:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            made = stack.enter_context(socket.create_connection(listening.getsockname()))
            yield made.fileno()


def run_with(folder: Path, descriptors: list[int], count: int) -> subprocess.CompletedProcess[str]:
    """Run a server that is passed descriptors, by a manager that says how many."""
    (folder / "wasp.toml").write_text(TEXT.format(head="", more='socket = "web"'))
    program = (
        "import os, sys\n"
        "numbers = list(map(int, sys.argv[2].split(','))) if sys.argv[2] else []\n"
        "for place, number in enumerate(numbers, 3): os.dup2(number, place)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=sys.argv[1],"
        " LISTEN_FDNAMES='web')\n"
        "if not numbers: os.closerange(3, 100)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'vespiary', 'run', sys.argv[3]])\n"
    )
    # Above the places to which they are moved.
    high = [fcntl.fcntl(number, fcntl.F_DUPFD, 50) for number in descriptors]
    try:
        listed = ",".join(map(str, high))
        words = [sys.executable, "-c", program, str(count), listed, str(folder / "wasp.toml")]
        return subprocess.run(
            words, capture_output=True, text=True, pass_fds=high, timeout=60, check=False
        )
    finally:
        for number in high:
            os.close(number)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_a_socket_of_the_endpoints_kind_is_an_error_with_its_line(
    folder: Path, kind: str
) -> None:
    with passed(kind, folder) as number:
        done = run_with(folder, [number], 1)
    assert done.returncode == 2, done.stderr
    assert "wasp.toml:6: endpoints.greeter.socket: the socket 'web' that was" in done.stderr
    assert KINDS[kind] in done.stderr
    assert "Traceback" not in done.stderr


def test_a_descriptor_that_was_passed_and_is_not_open_is_an_error(folder: Path) -> None:
    done = run_with(folder, [], 2)
    assert done.returncode != 0
    assert "LISTEN_FDS=2 says that 2 sockets were passed, but the descriptor 3" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pid_file_that_cannot_be_written_is_named(run: Run, folder: Path) -> None:
    server = run(TEXT.format(head='pid_file = "missing/pid"', more=""))
    assert server.end() == 1
    assert f"pid_file {folder}/missing/pid: cannot be written: No such file" in server.log


@pytest.mark.parametrize(
    ("name", "words"), [("missing/audit", "there is no folder"), (".", "is a folder")]
)
def test_an_audit_log_that_cannot_be_there_stops_the_start(
    run: Run, folder: Path, name: str, words: str
) -> None:
    head = f'[admin]\nurl = "http://127.0.0.1:0/"\naudit_file = "{name}"'
    server = run(TEXT.format(head=head, more=""))
    assert server.end() == 2
    assert f"wasp.toml:3: admin.audit_file: {words}" in server.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give rights up")
def test_a_configuration_that_may_not_be_read_is_an_error(folder: Path) -> None:
    (folder / "wasp.toml").write_text(TEXT.format(head="", more=""))
    folder.chmod(0o700)
    program = "import os, sys; os.setuid(65534); os.execv(sys.argv[1], sys.argv[1:])"
    words = [sys.executable, "-c", program, sys.executable, "-m", "vespiary", "check"]
    done = subprocess.run(
        [*words, str(folder / "wasp.toml")], capture_output=True, text=True, check=False
    )
    assert "wasp.toml: cannot be read: Permission denied" in done.stderr
    assert "Traceback" not in done.stderr
