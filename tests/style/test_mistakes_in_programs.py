"""Misspelt names in a user's program: type checkers find them, and so does the run, with advice.

mypy --strict and basedpyright in its strict mode read all programs at once. A name that only the
run finds (a method of a class can have any name) says so.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TOOLS = Path(sys.executable).parent
HEAD = """\
import vespiary


class Echo(vespiary.Handler[str]):
    def on_message(self, connection: vespiary.Connection[str], message: str) -> None:
        connection.send(message)


server = vespiary.Server()
"""
SETTINGS = '{"typeCheckingMode": "strict", "pythonVersion": "3.11"}'


@dataclass(frozen=True)
class Mistake:
    """A line of a program, the name in it that is wrong, and what the run says about it."""

    line: str
    name: str
    advice: str
    is_found_by_checkers: bool = True


MISTAKES = {
    "option_of_a_server": Mistake(
        'server.add(Echo(), "ws://127.0.0.1:0", limit=vespiary.Limits())', "limit", "'limits'"
    ),
    "option_of_serve": Mistake(
        'vespiary.serve(Echo(), "ws://127.0.0.1:0", deadline=vespiary.Deadlines())',
        "deadline",
        "'deadlines'",
    ),
    "option_of_a_client": Mistake(
        'vespiary.connect("ws://127.0.0.1:1", subprotocol=["chat"])', "subprotocol", "subprotocols"
    ),
    "limit": Mistake(
        "vespiary.Limits(message_byte_max=1)", "message_byte_max", "message_bytes_max"
    ),
    "deadline": Mistake("vespiary.Deadlines(idle_second=1)", "idle_second", "idle_seconds"),
    "option_of_websocket": Mistake("vespiary.WebSocket(origin=[])", "origin", "origins"),
    "option_of_compression": Mistake(
        "vespiary.Compression(server_context_takover=False)",
        "server_context_takover",
        "server_context_takeover",
    ),
    "value_of_an_option": Mistake(
        'server.add(Echo(), "ws://127.0.0.1:0", slow_consumer="drop-old")',
        "drop-old",
        "drop-oldest",
    ),
    "hook": Mistake(
        "class Wrong(Echo):\n"
        "    def on_mesage(self, connection: vespiary.Connection[str], message: str) -> None:\n"
        "        pass\n\n\n"
        'server.add(Wrong(), "ws://127.0.0.1:0")',
        "on_mesage",
        "on_message",
        is_found_by_checkers=False,
    ),
    "hook_with_wrong_parameters": Mistake(
        "class Wrong(vespiary.Handler[str]):\n"
        "    def on_message(self, message: str) -> None:\n"
        "        pass\n\n\n"
        'server.add(Wrong(), "ws://127.0.0.1:0")',
        "on_message",
        "connection, message",
    ),
    "message_of_another_type": Mistake(
        "class Wrong(vespiary.Handler[str]):\n"
        "    def on_message(self, connection: vespiary.Connection[str], message: bytes) -> None:\n"
        "        pass",
        "on_message",
        "",
    ),
}
"""Name: a mistake. Without advice only the type checkers can find it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program for each mistake, and one without."""
    made = tmp_path_factory.mktemp("programs")
    (made / "pyrightconfig.json").write_text(SETTINGS)
    (made / "correct.py").write_text(HEAD)
    for name, mistake in MISTAKES.items():
        (made / f"{name}.py").write_text(f"{HEAD}\n\n{mistake.line}\n")
    return made


def errors(command: list[str | Path], folder: Path) -> dict[str, str]:
    """What a type checker says of each program."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found: dict[str, str] = {}
    for name, text in _by_program(done.stdout):
        found[name] = found.get(name, "") + text + "\n"
    assert found, done.stdout + done.stderr
    return found


def _by_program(written: str) -> Iterator[tuple[str, str]]:
    name = ""
    for line in written.splitlines():
        match = re.search(r"(\w+)\.py:\d+", line)
        name = match[1] if match else name
        yield name, line


@pytest.fixture(scope="module")
def mypy(folder: Path) -> dict[str, str]:
    """What mypy says."""
    options = ["--strict", "--no-error-summary", "--cache-dir", str(folder / "cache")]
    return errors([TOOLS / "mypy", *options, "--config-file=", "."], folder)


@pytest.fixture(scope="module")
def basedpyright(folder: Path) -> dict[str, str]:
    """What basedpyright says."""
    return errors([TOOLS / "basedpyright", "--pythonpath", sys.executable], folder)


def test_a_correct_program_has_no_errors(
    mypy: dict[str, str], basedpyright: dict[str, str]
) -> None:
    assert "correct" not in mypy
    assert "correct" not in basedpyright


FOUND = [name for name, mistake in MISTAKES.items() if mistake.is_found_by_checkers]
RUN = [name for name, mistake in MISTAKES.items() if mistake.advice]


@pytest.mark.parametrize("name", FOUND)
def test_mypy_finds_it(name: str, mypy: dict[str, str]) -> None:
    assert MISTAKES[name].name in mypy.get(name, ""), mypy


@pytest.mark.parametrize("name", FOUND)
def test_basedpyright_finds_it(name: str, basedpyright: dict[str, str]) -> None:
    assert MISTAKES[name].name in basedpyright.get(name, ""), basedpyright


@pytest.mark.parametrize("name", RUN)
def test_the_run_finds_it_and_says_what_was_meant(name: str, folder: Path) -> None:
    command = [sys.executable, f"{name}.py"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=30
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1, done.stderr
    assert MISTAKES[name].name in last
    assert MISTAKES[name].advice in last
