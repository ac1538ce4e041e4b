"""A plug-in that ends its program (sys.exit): the log says where, and a supervisor replaces it."""

import contextlib
from pathlib import Path

import pytest

from tests.waiting import wait_until

from .conftest import Lines, Run, Running

ENDING = """\
import os
import sys
import vespiary

class Ending(vespiary.Handler):
    def on_message(self, connection, message):
        if message == b"exit":
            sys.exit(3)
        connection.send(str(os.getpid()).encode())

async def task(connection):
    async for message in connection:
        Ending().on_message(connection, message)
"""
TEXT = """\
{workers}
[endpoints.a]
url = "tcp://127.0.0.1:0"
plugin = "ending.py:{plugin}"
framing = "line"
{more}
"""
REPORT = "A plug-in has ended the program: "


def started(
    run: Run, folder: Path, workers: str = "", more: str = "", plugin: str = "Ending"
) -> Running:
    (folder / "ending.py").write_text(ENDING)
    server = run(TEXT.format(workers=workers, more=more, plugin=plugin))
    server.serves(1)
    return server


def end(url: str) -> str:
    """Let the plug-in end its process, and return which one that was."""
    client = Lines(url)
    try:
        process = client.ask("pid")
        with contextlib.suppress(ConnectionResetError):
            assert client.ask("exit") == ""
    finally:
        client.close()
    return process


@pytest.mark.parametrize("plugin", ["Ending", "task"])
@pytest.mark.parametrize(
    ("workers", "more"),
    [
        ('workers = { count = 2, restart_seconds_max = "100ms" }', ""),
        ("", 'host = "process"\nprocess.restart_seconds_max = "100ms"'),
    ],
    ids=["worker", "process"],
)
def test_only_the_process_of_the_plug_in_ends_and_is_replaced(
    run: Run, folder: Path, workers: str, more: str, plugin: str
) -> None:
    server = started(run, folder, workers, more, plugin)
    process = end(server.urls[0])
    server.wait_for("is back, as process")
    assert REPORT in server.log
    assert 'ending.py", line 8, in on_message' in server.log
    assert "ended with status 3" in server.log
    client = Lines(server.urls[0])
    assert client.ask("pid") != process
    client.close()
    assert server.stop() == 0


@pytest.mark.parametrize("word", ["", "async "], ids=["plain", "async"])
def test_a_new_plug_in_that_ends_the_program_in_on_start_leaves_the_old_one_serving(
    run: Run, folder: Path, word: str
) -> None:
    server = started(run, folder)
    new = f"\n    {word}def on_start(self, server):\n        sys.exit(4)\n"
    (folder / "ending.py").write_text(
        ENDING.replace("vespiary.Handler):\n", f"vespiary.Handler):{new}")
    )
    server.reload()
    assert "on_start has ended the program: SystemExit(4)" in server.log
    assert "The configuration was not reloaded" in server.log
    client = Lines(server.urls[0])
    assert client.ask("pid") == str(server.process.pid)
    client.close()
    assert server.stop() == 0


def test_a_server_that_a_plug_in_ends_logs_where(run: Run, folder: Path) -> None:
    server = started(run, folder)
    end(server.urls[0])
    assert server.end() == 3
    assert REPORT + "the server stops" in server.log
    assert 'ending.py", line 8, in on_message' in server.log


def test_a_signal_that_ends_a_blocked_server_is_not_taken_for_the_plug_ins_own(
    run: Run, folder: Path
) -> None:
    blocking = ENDING.replace("sys.exit(3)", "[None for _ in iter(int, 1)]")
    (folder / "ending.py").write_text(blocking)
    server = run(TEXT.format(workers="", more="", plugin="Ending"))
    client = Lines(server.serves(1)[0])
    client.socket.sendall(b"exit\n")

    def has_ended() -> bool:
        # Signals that come together count as one.
        server.process.terminate()
        return server.process.poll() is not None

    wait_until(has_ended)
    server.end()
    assert REPORT not in server.log
    client.close()
