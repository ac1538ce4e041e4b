"""Folders of runs: held while the run lives, removed by the next run after it was killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.prove.conftest import PROVE, prove
from vespiary.prove.folders import SUFFIX, Held, dead, hold

SECONDS = 60.0
HOLDER = """
import sys, time
from pathlib import Path
from vespiary.prove.folders import Held
held = Held("vespiary-test-", Path(sys.argv[1]))
(held.path / "file").touch()
print(held.path, flush=True)
time.sleep(1000)
"""


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


class Holder:
    """A process that holds a folder."""

    def __init__(self, parent: Path) -> None:
        command = [sys.executable, "-c", HOLDER, str(parent)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.folder = Path(self._process.stdout.readline().strip())

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[list[Holder]]:
    made = [Holder(tmp_path), Holder(tmp_path)]
    yield made
    for each in made:
        each.kill()


def test_the_next_folder_removes_that_of_a_killed_process_and_no_other(
    holders: list[Holder], tmp_path: Path
) -> None:
    lives, killed = holders
    (tmp_path / "vespiary-prove-other").mkdir()
    killed.kill()
    assert (killed.folder / "file").exists()
    with Held("vespiary-test-", tmp_path) as held:
        assert not killed.folder.exists()
        assert (lives.folder / "file").exists()
        assert (tmp_path / "vespiary-prove-other").exists()
        assert held.path.is_dir()
    assert not held.path.exists()
    lives.kill()
    assert list(dead(tmp_path, "vespiary-test-")) == [lives.folder]


def test_a_folder_that_another_run_removed_before_it_was_held_is_made_again(tmp_path: Path) -> None:
    made: list[Path] = []

    def make() -> Path:
        path = tmp_path / f"vespiary-{len(made)}{SUFFIX}"
        path.mkdir()
        made.append(path)
        if len(made) == 1:
            path.rmdir()
        return path

    path, descriptor = hold(make)
    assert path == made[1]
    assert not list(dead(tmp_path, "vespiary-"))
    os.close(descriptor)
    assert list(dead(tmp_path, "vespiary-")) == [path]


def test_a_link_to_a_folder_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / f"vespiary-link{SUFFIX}").symlink_to(tmp_path / "mine")
    with Held("vespiary-", tmp_path):
        assert (tmp_path / "mine").exists()


@pytest.mark.acceptance
def test_the_next_run_removes_what_a_killed_runner_of_hosts_has_left(
    suite: Path, tmp_path: Path
) -> None:
    suite.write_text("""
[hosts.none]
ssh = "-o ProxyCommand='sleep 20' nowhere"
[cases.a]
clients = [{ command = "true" }]
""")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    variables = {"TMPDIR": str(temporary)}
    runner = subprocess.Popen([*PROVE, str(suite)], env={**os.environ, **variables})
    wait_until(lambda: any(temporary.glob("vespiary-prove-host-*")))
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    assert any(temporary.glob("vespiary-prove-host-*"))
    assert prove(suite, "--local", **variables).code == 0
    assert not list(temporary.iterdir())


KILLED_WHILE_IT_UNPACKS = """
import io, os, signal, sys, zipfile
from pathlib import Path
from vespiary.prove.acceptance.hosts.agent import Agent
data = io.BytesIO()
with zipfile.ZipFile(data, "w") as archive:
    archive.writestr("file", "text")
zipfile.ZipFile.extract = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
agent = Agent(None)
agent._folder = Path(sys.argv[1])
agent._unpack("0123", data.getvalue())
"""


def test_the_next_run_on_a_host_removes_what_was_unpacked_in_part(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    command = [sys.executable, "-c", KILLED_WHILE_IT_UNPACKS, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == [runs]
    assert len(list(runs.iterdir())) == 1
    with Held("vespiary-prove-", runs) as held:
        assert list(runs.iterdir()) == [held.path]
