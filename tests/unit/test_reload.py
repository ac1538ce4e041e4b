import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import wait_until
from vespiary.cli._reload import Watch, own_source_files

# The parent of these tests runs this child: it tells its files and a URL, and writes down how it
# was started and how it was ended.
CHILD = """\
import os, pathlib, signal, subprocess, sys, threading
from vespiary.cli._reload import ChildReport
import watched_module
log = pathlib.Path("log.txt").open("a", buffering=1)
done = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: done.set())
print("started", watched_module.VALUE, *sys.argv[1:], file=log)
report = ChildReport.from_environment()
report.serving([url.replace(":0", ":7777") for url in sys.argv[1:]])
if watched_module.VALUE == 13:
    sys.exit("bad luck")
if watched_module.VALUE in (17, 19):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    worker = subprocess.Popen(["sleep", "600"])
    if watched_module.VALUE == 19:
        asked = []
        def on_signal(*_):
            asked.append(1)
            if len(asked) == 2:
                os._exit(143)
        signal.signal(signal.SIGTERM, on_signal)
    print("worker", worker.pid, file=log)
while not done.wait(0.05):
    pass
print("ended", file=log)
"""
PARENT = """\
import sys
from vespiary.cli import _reload
if sys.argv[1:]:
    _reload._GRACE_SECONDS = _reload._KILL_SECONDS = float(sys.argv[1])
command = lambda urls: [sys.executable, "child.py", *urls]
sys.exit(_reload.Reloader(command, ["tcp://127.0.0.1:0"]).run())
"""


def test_a_watch_tells_files_that_were_changed_made_or_removed_once(tmp_path: Path) -> None:
    changed, removed, made, same = (tmp_path / name for name in "abcd")
    for path in (changed, removed, same):
        path.write_text("1")
    watch = Watch()
    watch.add([changed, removed, made, same])
    assert watch.changed() == []
    changed.write_text("22")
    removed.unlink()
    made.write_text("3")
    assert watch.changed() == [changed, removed, made]
    assert watch.changed() == []


def test_watching_a_file_again_keeps_what_was_seen_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    watch = Watch()
    watch.add([path])
    path.write_text("1")
    watch.add([path])
    assert watch.changed() == [path]


def test_a_file_modified_since_it_was_loaded_counts_as_changed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("1")
    modified = path.stat().st_mtime_ns
    before, after = Watch(), Watch()
    before.add([path], since=modified - 1)
    after.add([path], since=modified)
    assert before.changed() == [path]
    assert after.changed() == []


def test_own_source_files_have_this_test_but_neither_python_nor_installed_ones() -> None:
    files = own_source_files()
    assert Path(__file__).absolute() in files
    assert Path(pytest.__file__).absolute() not in files
    assert Path(os.__file__).absolute() not in files


class Session:
    """A parent with its child, in a folder of their own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        (folder / "child.py").write_text(CHILD)
        (folder / "parent.py").write_text(PARENT)
        (folder / "log.txt").touch()
        self.write(1)
        self.errors = (folder / "errors.txt").open("w")
        self.parent = subprocess.Popen(
            [sys.executable, "parent.py", *arguments], cwd=folder, stderr=self.errors
        )

    def write(self, value: int) -> None:
        (self.folder / "watched_module.py").write_text(f"VALUE = {value}{' ' * (value % 7)}\n")

    def log(self) -> list[str]:
        return (self.folder / "log.txt").read_text().splitlines()

    def told(self) -> str:
        return (self.folder / "errors.txt").read_text()

    def stop(self) -> int:
        self.parent.terminate()
        return self.parent.wait(10)

    def close(self) -> None:
        self.parent.kill()
        self.parent.wait()
        self.errors.close()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session(tmp_path)
    yield made
    made.close()


def test_a_changed_source_restarts_the_child_at_the_url_the_first_one_got(
    session: Session,
) -> None:
    wait_until(lambda: session.log() == ["started 1 tcp://127.0.0.1:0"])
    session.write(2)
    wait_until(lambda: len(session.log()) == 3)
    assert session.log()[1:] == ["ended", "started 2 tcp://127.0.0.1:7777"]
    assert "watched_module.py changed; restarting" in session.told()
    assert session.stop() == 0
    assert session.log()[-1] == "ended"


def test_a_child_that_ends_by_itself_waits_for_a_change(session: Session) -> None:
    wait_until(lambda: len(session.log()) == 1)
    session.write(13)
    wait_until(lambda: "the server ended with status 1; waiting for a change" in session.told())
    assert session.log()[-1] == "started 13 tcp://127.0.0.1:7777"
    session.write(3)
    wait_until(lambda: session.log()[-1] == "started 3 tcp://127.0.0.1:7777")
    assert session.stop() == 0


def test_the_child_ends_when_its_parent_is_killed(session: Session) -> None:
    wait_until(lambda: len(session.log()) == 1)
    session.parent.send_signal(signal.SIGKILL)
    wait_until(lambda: session.log()[-1] == "ended")


def is_running(process: int) -> bool:
    """Whether it is there, and not only because nobody has asked for its status."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


STUCK, ENDS_WITHOUT_CLEANUP = 17, 19


@pytest.mark.parametrize("value", [STUCK, ENDS_WITHOUT_CLEANUP])
def test_the_processes_of_a_child_that_does_not_stop_end_with_it(
    tmp_path: Path, value: int
) -> None:
    session = Session(tmp_path, "0.2")
    try:
        wait_until(lambda: len(session.log()) == 1)
        session.write(value)
        wait_until(lambda: "worker" in session.log()[-1])
        worker = int(session.log()[-1].split()[1])
        assert is_running(worker)
        session.write(2)
        wait_until(lambda: "started 2" in session.log()[-1])
        wait_until(lambda: not is_running(worker))
        session.stop()
    finally:
        session.close()
