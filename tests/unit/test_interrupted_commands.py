"""Ctrl-C and SIGTERM end every command, with a status that says so and without leftovers.

Each command is started in a folder of its own and brought to the point where it waits for
something: for an answer, a file, a plug-in or a program. Only then it gets the signal.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(180)

BEGIN = "touch begun; exec sleep 3600"
SLEEPS = ["--", "sh", "-c", BEGIN]
HANGS = "import signal\nfrom pathlib import Path\nPath('begun').touch()\nsignal.pause()\n"
TRACED = f"""
import pytest
from vespiary_trace import requires

@pytest.mark.requirement("a/1/1")
def test_it():
    if requires("a/1/1", True):
{"".join(f"        {line}{chr(10)}" for line in HANGS.splitlines())}
"""
PROVED = '[cases.one]\nclients = [{ command = ["sh", "-c", "touch \'BEGUN\'; sleep 600"] }]\n'


@dataclass(frozen=True)
class Ending:
    """A command, and how it ends.

    Attributes:
        arguments: Of `vespiary`; `{url}` is the address of a server that never answers.
        interrupted: The status after SIGINT.
        terminated: The status after SIGTERM.
    """

    arguments: list[str]
    interrupted: int = 130
    terminated: int = -signal.SIGTERM


ASKING = {
    "connections": [],
    "disconnect": ["1"],
    "drain": ["echo"],
    "endpoints": [],
    "inspect": ["1"],
    "limit": ["echo", "message_bytes_max", "64"],
    "log-level": ["debug"],
    "reload": [],
    "resume": ["echo"],
    "status": [],
    "suspend": ["echo"],
    "tap": ["1"],
    "top": [],
    "upgrade": [],
}
"""The commands that ask a server, with their arguments before the configuration file."""

ENDINGS = {
    **{name: Ending([name, *rest, "wasp.toml"]) for name, rest in ASKING.items()},
    "check": Ending(["check", "hanging.toml"]),
    "run": Ending(["run", "hanging.toml"]),
    "load": Ending(["load", "tcp://{url}", "--timeout=60s"], terminated=130),
    "locks": Ending(["locks", *SLEEPS], terminated=143),
    "memory": Ending(["memory", *SLEEPS], terminated=143),
    "prove": Ending(["prove", "suite.toml"], terminated=130),
    "timewait": Ending(["timewait", *SLEEPS], terminated=143),
    # It has no end of its own, so a signal is not a failure.
    "timewait without a program": Ending(
        ["timewait", "--interval=50ms", "--record=begun"], interrupted=0, terminated=0
    ),
    "trace collect": Ending(["trace", "collect", "--jobs=1"], terminated=143),
    "trace prove": Ending(["trace", "prove", "--jobs=1"], terminated=143),
    "trace extract": Ending(["trace", "extract", "a", "--text=pipe", "--show"]),
    "trace scan": Ending(["trace", "scan", "--config=pipe"]),
    "trace report": Ending(["trace", "report", "--config=pipe"]),
    "trace gate": Ending(["trace", "gate", "--evidence=pipe"]),
}
"""Commands that only write a file or print something are not here: they do not wait."""

CASES = [
    *((name, signal.SIGINT) for name in ENDINGS),
    # Where nothing handles SIGTERM, one command shows it for all.
    *((name, signal.SIGTERM) for name, one in ENDINGS.items()
      if one.terminated != -signal.SIGTERM or name in ("status", "trace scan")),
]  # fmt: skip


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def filled(folder: Path, url: str) -> None:
    """Write what the commands need."""
    (folder / "tmp").mkdir()
    table = '[endpoints.echo]\nurl = "tcp://127.0.0.1:0"\nplugin = "hanging:Echo"\n'
    (folder / "wasp.toml").write_text(f'{table}[admin]\nurl = "http://{url}/"\n')
    (folder / "hanging.toml").write_text(table)
    (folder / "hanging.py").write_text(HANGS)
    (folder / "suite.toml").write_text(PROVED.replace("BEGUN", str(folder / "begun")))
    (folder / "test_it.py").write_text(TRACED)
    (folder / "trace.toml").write_text(
        '[sources]\npython = ["test_it.py"]\n[run]\npytest = ["test_it.py"]\n'
        '[[gate]]\nspecification = "*"\nlevels = ["must"]\nstatus = "proven"\n'
    )
    (folder / "requirements").mkdir()
    (folder / "requirements" / "a.toml").write_text('[[requirement]]\nid = "a/1/1"\n')
    os.mkfifo(folder / "pipe")


def at_work(
    folder: Path, ending: Ending, listener: socket.socket, kept: ExitStack
) -> Callable[[], bool]:
    """What says that a command waits: it has asked, opened the pipe, or begun its program.

    Its connection or its pipe stays open until `kept` closes it.
    """
    if any("pipe" in one for one in ending.arguments):
        return lambda: is_read(folder / "pipe", kept)
    if "wasp.toml" in ending.arguments or "tcp://{url}" in ending.arguments:
        return lambda: has_asked(listener, kept)
    return (folder / "begun").exists


def has_asked(listener: socket.socket, kept: ExitStack) -> bool:
    """Whether a process has connected and sent something, and now waits for an answer."""
    try:
        connection = kept.enter_context(listener.accept()[0])
    except BlockingIOError:
        return False
    connection.settimeout(60)
    return bool(connection.recv(1 << 16))


def is_read(pipe: Path, kept: ExitStack) -> bool:
    """Whether a process waits for what comes from the pipe, which stays open then."""
    try:
        kept.callback(os.close, os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(("name", "number"), CASES)
def test_a_signal_ends_a_command_with_its_status_and_leaves_nothing(
    tmp_path: Path, listener: socket.socket, name: str, number: signal.Signals
) -> None:
    ending = ENDINGS[name]
    url = f"127.0.0.1:{listener.getsockname()[1]}"
    filled(tmp_path, url)
    arguments = [one.format(url=url) for one in ending.arguments]
    with (
        ExitStack() as kept,
        subprocess.Popen(
            [sys.executable, "-m", "vespiary", *arguments],
            cwd=tmp_path,
            env={**os.environ, "TMPDIR": str(tmp_path / "tmp"), "VESPIARY_TRACE": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        ready = at_work(tmp_path, ending, listener, kept)
        wait_until(lambda: ready() or process.poll() is not None)
        assert process.poll() is None, process.stdout and process.stdout.read()
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        output = process.communicate(timeout=120)[0]
    expected = ending.interrupted if number == signal.SIGINT else ending.terminated
    assert process.returncode == expected, output
    assert "Traceback" not in output
    assert psutil.wait_procs(children, timeout=60)[1] == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_interrupt_during_the_imports_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(HANGS)
    command = subprocess.Popen(
        [sys.executable, "-m", "vespiary", "serve"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until((tmp_path / "begun").exists)
    command.send_signal(signal.SIGINT)
    _, errors = command.communicate(timeout=60)
    assert (command.returncode, errors) == (130, "vespiary: interrupted\n")
