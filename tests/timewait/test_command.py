"""The command, as scripts use it."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.timewait.conftest import CHECKOUT, SECONDS, Isolated
from vespiary.cli.main import main
from vespiary.prove.timewait import Monitor, namespaces

ENDED = "from tests.timewait import traffic as t; t.bring_up(); t.ended(t.listener('127.0.0.1'), 9)"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["timewait", *arguments], prog_name="vespiary")


def inside(isolated: Isolated, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a namespace in which 9 sockets are in TIME_WAIT."""
    words = [sys.executable, "-m", "vespiary", "timewait", *arguments]
    script = f"{sys.executable} -c {shlex.quote(ENDED)} && exec {shlex.join(words)}"
    command = isolated(["sh", "-c", script])
    return subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_json_has_the_totals_by_state(isolated: Isolated) -> None:
    done = inside(isolated, "--once", "--json", "--owners", "polling")
    assert done.returncode == 0, done.stderr
    states = json.loads(done.stdout)["states"]
    assert states["time_wait"] == 9
    assert states["established"] == 0


def test_json_goes_into_a_file_beside_the_table(isolated: Isolated, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    done = inside(isolated, "--json", str(path), "--sockets", "--owners", "polling")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(path.read_text())["sockets"]) == 9
    assert "TIME_WAIT 9" in done.stdout
    assert "not known" in done.stdout


def test_each_look_is_a_line_where_there_is_no_terminal(isolated: Isolated) -> None:
    done = inside(isolated, "--duration", "300ms", "--interval", "100ms", "--owners", "polling")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) >= 2
    assert all("time_wait 9; established 0" in line for line in lines)


@pytest.mark.parametrize(("alarm", "status"), [("time_wait > 8", 110), ("time_wait > 9", 0)])
def test_an_alarm_is_an_exit_code(isolated: Isolated, alarm: str, status: int) -> None:
    done = inside(isolated, "--once", "--alarm", alarm, "--owners", "polling")
    assert done.returncode == status
    assert (f"alarm {alarm}: time_wait is 9" in done.stderr) == (status == 110)


def test_an_alarm_ends_the_run_unless_it_is_to_keep_going(isolated: Isolated) -> None:
    options = ["--duration", "400ms", "--interval", "100ms", "--owners", "polling"]
    first = inside(isolated, *options, "--alarm", "time_wait > 1")
    assert (first.returncode, len(first.stdout.splitlines())) == (110, 1)
    whole = inside(isolated, *options, "--alarm", "time_wait > 1", "--keep-going")
    assert whole.returncode == 110
    assert len(whole.stdout.splitlines()) >= 2


@pytest.fixture
def held(isolated: Isolated) -> Iterator[subprocess.Popen[str]]:
    """A process in a namespace in which 9 sockets are in TIME_WAIT; a line ends it."""
    if os.geteuid() != 0:
        pytest.skip("no network namespace can be made here that this user may enter")
    script = f"{ENDED}; print('ready', flush=True); input()"
    command = isolated([sys.executable, "-c", script])
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        if process.poll() is None:
            process.communicate("\n")


def test_a_namespace_has_the_name_that_it_has_in_run(
    held: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blue").symlink_to(f"/proc/{held.pid}/ns/net")
    monkeypatch.setattr(namespaces, "_NAMED", tmp_path)
    report = json.loads(run("--json", "--namespace", "blue", "--owners", "polling").stdout)
    assert report["states"]["time_wait"] == 9
    assert report["namespaces"][0]["name"] == "blue"
    assert "did you mean" not in run("--namespace", "bleu").output
    assert "(blue)" in run("--namespace", "bleu").output


def test_a_namespace_that_goes_away_is_not_watched_any_more(held: subprocess.Popen[str]) -> None:
    with Monitor(namespaces.all_namespaces, owners="polling") as watching:
        before = {it["inode"]: it for it in watching.report()["namespaces"]}
        inode = Path(f"/proc/{held.pid}/ns/net").stat().st_ino
        assert before[inode]["states"]["time_wait"] == 9
        held.communicate("\n")
        after = {it["inode"] for it in watching.report()["namespaces"]}
    assert inode not in after


def test_a_namespace_is_watched_from_outside(held: subprocess.Popen[str]) -> None:
    one = json.loads(run("--json", "--namespace", str(held.pid), "--owners", "polling").stdout)
    every = json.loads(run("--json", "--all-namespaces", "--owners", "polling").stdout)
    assert one["states"]["time_wait"] == 9
    (there,) = one["namespaces"]
    assert there["sockstat"]["tw"] == 9
    assert there["name"].endswith(f"({held.pid})")
    (same,) = (it for it in every["namespaces"] if it["inode"] == there["inode"])
    assert same["states"]["time_wait"] == 9
    assert len(every["namespaces"]) >= 2
    assert every["states"]["time_wait"] == sum(
        it["states"]["time_wait"] for it in every["namespaces"]
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--interval", "1ms"], "--interval is 50ms at least"),
        (["--sockets"], "--sockets needs --json"),
        (["--once", "--duration", "1s"], "exclude each other"),
        (["--keep-going"], "--keep-going needs --alarm"),
        (["--alarm", "time_wiat > 1"], "did you mean 'time_wait'?"),
        (["--namespace", "no-such"], "there is no network namespace 'no-such'"),
        (["--namespace", "4194999"], "process 4194999 cannot be read"),
        (["--namespace", "1", "--all-namespaces"], "exclude each other"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert words in done.output


def test_a_report_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    done = run("--json", str(tmp_path / "no" / "report.json"), "--owners", "polling")
    assert done.exit_code == 2
    assert "cannot be written" in done.output


VISITOR = """\
import pathlib, subprocess
from vespiary.prove.timewait import Monitor, all_namespaces, own_namespace

there = subprocess.Popen(
    ["unshare", "--net", "sh", "-c", "echo ready; read line"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
)
assert there.stdout.readline() == b"ready\\n"
inode = pathlib.Path(f"/proc/{there.pid}/ns/net").stat().st_ino
before = own_namespace().inode
with Monitor(all_namespaces, owners="polling") as watching:
    for _ in range(2):
        report = watching.report()
        assert inode in [it["inode"] for it in report["namespaces"]], report["unreachable"]
        assert own_namespace().inode == before
there.communicate(b"\\n")
"""


def test_who_may_not_enter_the_own_namespace_stays_in_it(isolated: Isolated) -> None:
    """In a user namespace, where the first network namespace is somebody else's."""
    del isolated  # It skips where no namespace can be made.
    command = ["unshare", "--map-root-user", sys.executable, "-c", VISITOR]
    done = subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if "unshare failed" in done.stderr:
        pytest.skip("no network namespace can be made here by another user")
    assert done.returncode == 0, done.stderr
