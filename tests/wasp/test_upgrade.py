"""SIGUSR2: a new process of the same program takes over the sockets, and the old one drains."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.waiting import wait_until
from tests.wasp.conftest import Lines, Run, Running
from tests.wasp.test_reload import KINDS, A, Knocking
from vespiary.wasp import handover
from vespiary.wasp.handover import Held, Successor

Connect = Callable[[str], Lines]

SERVES = re.compile(r"Upgraded: process (\d+) serves")

STUBBORN = """
class Stubborn(Greeter):
    def on_shutdown(self, connection):
        pass
"""


class Upgrades:
    """Sends SIGUSR2, and ends the processes that have come from it."""

    def __init__(self) -> None:
        self._processes: list[int] = []

    def __call__(self, server: Running, process: int | None = None) -> int:
        """Upgrade, and return the process id of the new process."""
        before = len(SERVES.findall(server.log))
        os.kill(process or server.process.pid, signal.SIGUSR2)
        wait_until(lambda: len(SERVES.findall(server.log)) > before, lambda: server.log)
        return self.note(server)

    def note(self, server: Running) -> int:
        """Remember the new process that a server has logged last."""
        self._processes.append(int(SERVES.findall(server.log)[-1]))
        return self._processes[-1]

    def stop(self, process: int) -> None:
        """Stop a process that was started by an upgrade, and wait for its end."""
        descriptor = os.pidfd_open(process)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            wait_until(lambda: not is_running(process), lambda: f"{process} runs on")
        finally:
            os.close(descriptor)
        self._processes.remove(process)

    def end(self) -> None:
        """End what still runs."""
        for process in self._processes:
            if is_running(process):
                os.kill(process, signal.SIGKILL)


def is_running(process: int) -> bool:
    """Whether a process runs; one that has ended may wait for its parent."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.fixture
def upgrade() -> Iterator[Upgrades]:
    """Upgrades servers, and ends the new processes."""
    upgrades = Upgrades()
    yield upgrades
    upgrades.end()


@pytest.mark.parametrize("head", ["", "workers = 1\n"], ids=["alone", "workers"])
def test_the_new_process_serves_and_the_old_one_ends(
    run: Run, lines: Connect, folder: Path, upgrade: Upgrades, head: str
) -> None:
    server = run(head + 'pid_file = "main.pid"\n' + A)
    (url,) = server.serves(1)
    client = lines(url)
    assert client.ask("Ann") == "hello Ann 1"
    # The new process is not a fork: it imports everything anew, and reads the configuration.
    (folder / "wasp.toml").write_text(
        head + 'pid_file = "main.pid"\n' + A + 'config.greeting = "welcome"\n'
    )
    new = upgrade(server)
    assert client.end() == b"", "the old process drains"
    assert server.end_of_process() == 0
    assert server.urls[1] == url, "the port stays"
    assert lines(url).ask("Ann") == "welcome Ann 1"
    assert (folder / "main.pid").read_text() == f"{new}\n"
    upgrade.stop(new)
    assert not (folder / "main.pid").exists()


def test_a_plugin_in_a_process_is_replaced_with_its_server(
    run: Run, lines: Connect, upgrade: Upgrades
) -> None:
    server = run(A + 'host = "process"\n')
    (url,) = server.serves(1)
    client = lines(url)
    assert client.ask("Ann") == "hello Ann 1"
    process = upgrade(server)
    assert lines(url).ask("Ben").startswith("hello Ben ")
    assert server.end_of_process() == 0
    assert lines(url).ask("Cem").startswith("hello Cem ")
    upgrade.stop(process)


@pytest.mark.parametrize("head", ["", "workers = 1\n"], ids=["alone", "workers"])
def test_a_program_that_does_not_start_changes_nothing(
    run: Run, lines: Connect, folder: Path, upgrade: Upgrades, head: str
) -> None:
    local = KINDS.format(folder=folder).partition("\n\n")[0] + "\n"
    text = head + 'pid_file = "main.pid"\n' + A + local
    server = run(text)
    url = server.serves(2)[0]
    client = lines(url)
    pid = (folder / "main.pid").read_text()
    for count, wrong in enumerate((A.replace("line", "lines"), A + "config.fails = true\n"), 1):
        (folder / "wasp.toml").write_text(text.replace(A, wrong))
        server.process.send_signal(signal.SIGUSR2)
        server.wait_for("the program was not upgraded", count)
        assert client.ask("Ann") == f"hello Ann {count}"
        assert (folder / "main.pid").read_text() == pid
        assert (folder / "local.sock").exists()
    assert "The old process continues" in server.log
    (folder / "wasp.toml").write_text(text)
    new = upgrade(server)
    assert server.end_of_process() == 0
    assert lines(url).ask("Ann") == "hello Ann 1"
    upgrade.stop(new)


def test_the_command_waits_until_the_new_process_serves(
    run: Run, lines: Connect, folder: Path, upgrade: Upgrades
) -> None:
    admin = f'[admin]\nurl = "http+unix://{folder}/admin.sock:/"\n'
    server = run(A + admin)
    url = server.serves(2)[0]
    command = [sys.executable, "-m", "vespiary", "upgrade", str(folder / "wasp.toml")]
    (folder / "wasp.toml").write_text(A.replace("line", "lines") + admin)
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "was not upgraded: the new process" in failed.stderr
    (folder / "wasp.toml").write_text(A + admin)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    new = upgrade.note(server)
    assert (
        done.stdout == f"Upgraded: process {new} serves, and process {server.process.pid} drains\n"
    )
    assert server.end_of_process() == 0
    assert lines(url).ask("Ann") == "hello Ann 1"
    upgrade.stop(new)


def test_long_lived_connections_stay_with_the_old_process(
    run: Run, lines: Connect, folder: Path, upgrade: Upgrades
) -> None:
    (folder / "plug.py").write_text((folder / "plug.py").read_text() + STUBBORN)
    server = run(A.replace("Greeter", "Stubborn"))
    (url,) = server.serves(1)
    old = lines(url)
    assert old.ask("Ann") == "hello Ann 1"
    first = upgrade(server)
    assert old.ask("Ann") == "hello Ann 2"
    middle = lines(url)
    assert middle.ask("Ben") == "hello Ben 1"
    second = upgrade(server, first)
    assert old.ask("Ann") == "hello Ann 3"
    assert middle.ask("Ben") == "hello Ben 2"
    new = lines(url)
    assert new.ask("Cy") == "hello Cy 1"
    old.close()
    assert server.end_of_process() == 0
    middle.close()
    wait_until(lambda: not is_running(first), lambda: "the process of the first upgrade runs on")
    new.close()
    upgrade.stop(second)


@pytest.mark.parametrize("head", ["", "workers = 1\n"], ids=["alone", "workers"])
def test_no_connect_is_refused_and_each_kind_of_socket_is_kept(
    run: Run, folder: Path, upgrade: Upgrades, head: str
) -> None:
    server = run(head + A + KINDS.format(folder=folder))
    urls = server.serves(4)
    path = folder / "local.sock"
    process, processes = server.process.pid, []
    with Knocking(urls[0]) as clients:
        for number in range(2, 5):
            process = upgrade(server, process)
            processes.append(process)
            assert server.serves(4 * number)[-4:] == urls
            assert path.stat().st_mode & 0o777 == 0o600
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(60)
                client.connect(str(path))
            seen = clients.answered
            wait_until(lambda seen=seen: clients.answered > seen)  # type: ignore[misc]
    assert clients.refused == 0
    *ended, last = processes
    for one in ended:
        wait_until(lambda one=one: not is_running(one))  # type: ignore[misc]
    upgrade.stop(last)
    assert not path.exists()


def test_a_stop_ends_the_new_process_too(run: Run, folder: Path) -> None:
    server = run(A)
    server.serves(1)
    (folder / "plug.py").write_text(
        (folder / "plug.py").read_text()
        + """
import asyncio, sys

class Greeter(Greeter):
    async def on_start(self, server):
        print("starting", file=sys.stderr, flush=True)
        await asyncio.Event().wait()
"""
    )
    server.process.send_signal(signal.SIGUSR2)
    server.wait_for("starting")
    (new,) = (int(one) for one in re.findall(r"starts as process (\d+)", server.log))
    assert server.stop() == 0
    wait_until(lambda: not is_running(new), lambda: f"{new} runs on")


def test_an_upgrade_is_reported_to_the_service_manager(
    run: Run, folder: Path, upgrade: Upgrades
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(60)
        server = run(A, environment={"NOTIFY_SOCKET": str(folder / "notify")})

        def received(word: str) -> str:
            while True:
                text = manager.recv(4096).decode()
                if word in text:
                    return text

        received("READY=1")
        new = upgrade(server)
        received("RELOADING=1")
        assert received("MAINPID") == f"MAINPID={new}\nREADY=1"
        assert server.end_of_process() == 0
        # Of the server itself, which continues, nothing is reported.
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            received("STOPPING=1")
        manager.settimeout(60)
        upgrade.stop(new)
        received("STOPPING=1")


def test_sockets_that_were_passed_are_passed_on(
    run: Run, lines: Connect, upgrade: Upgrades
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as passed:
        url = f"tcp://127.0.0.1:{passed.getsockname()[1]}"
        text = A.replace("tcp://127.0.0.1:0", url) + 'socket = "lines"\n'
        server = run(text, passed={"lines": passed})
        server.serves(1)
        process = upgrade(server)
        assert server.end_of_process() == 0
        process = upgrade(server, process)
        assert lines(url).ask("Ann") == "hello Ann 1"
        upgrade.stop(process)


def test_more_addresses_than_can_be_handed_over_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[int] = []

    def start(control: int) -> int:
        del control
        started.append(os.posix_spawn("/bin/sleep", ["sleep", "600"], {}))
        return started[-1]

    monkeypatch.setattr(handover, "_start_program", start)
    with socket.socket() as one:
        held = [Held(frozenset([f"{number}" * 50]), [one]) for number in range(5000)]
        with pytest.raises(OSError, match="5,000 addresses are too many to be handed over"):
            Successor(held, {})
    (process,) = started
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGTERM
