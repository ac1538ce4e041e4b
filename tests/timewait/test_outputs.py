"""Recordings, pictures, metrics and commands that are watched."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.timewait.conftest import CHECKOUT, SECONDS, Isolated
from vespiary.cli.main import main
from vespiary.prove.timewait import Monitor, Report, own_namespace
from vespiary.prove.timewait.openmetrics import exported
from vespiary.prove.timewait.recording import read_recording

RAMP = [100, 300, 700, 650]
PNG = b"\x89PNG\r\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["timewait", *arguments], prog_name="vespiary")


@pytest.fixture(scope="module")
def report() -> Report:
    """A real report."""
    with Monitor(lambda: [own_namespace()], owners="polling") as watching:
        return watching.report()


@pytest.fixture
def recording(tmp_path: Path, report: Report) -> Path:
    """A recording in which TIME_WAIT goes up and a little down again."""
    path = tmp_path / "log.jsonl"
    lines = []
    for second, count in enumerate(RAMP):
        changed = json.loads(json.dumps(report))
        changed["time"] = 1_700_000_000 + second
        changed["states"]["time_wait"] = count
        changed["budgets"] = [budget(count)]
        lines.append(json.dumps(changed) + "\n")
    path.write_text("".join(lines))
    return path


def budget(used: int) -> dict[str, Any]:
    return {
        "namespace": "own",
        "source": "10.0.0.1",
        "destination": "10.0.0.2",
        "port": 5432,
        "ports": 1000,
        "used": used,
        "in_use": 0,
        "time_wait": used,
        "connect_half": {"ports": 500, "used": min(used, 500)},
        "bind_half": {"ports": 500, "used": max(used - 500, 0)},
        "closed_per_second": 10.0,
        "growth_per_second": 0.0,
        "reuse": False,
        "cliff_seconds": max(0.0, (500 - used) / 10),
        "exhaustion_seconds": None,
        "process": "[worker]",
        "pid": None,
    }


def test_a_recording_is_appended_to_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    options = ["--record", str(path), "--duration", "150ms", "--interval", "50ms"]
    for _ in range(2):
        done = run(*options, "--owners", "polling")
        assert done.exit_code == 0, done.output
    reports = list(read_recording(path))
    assert len(reports) >= 4
    assert [it["time"] for it in reports] == sorted(it["time"] for it in reports)
    assert all(it["namespaces"][0]["counters"] for it in reports)


def test_a_replay_shows_the_last_report_and_checks_alarms_in_all(recording: Path) -> None:
    done = run("--replay", str(recording))
    assert done.exit_code == 0, done.output
    assert "TIME_WAIT 650" in done.output
    assert "[worker]" in done.output
    done = run("--replay", str(recording), "--alarm", "time_wait > 690", "--keep-going")
    assert done.exit_code == 110
    assert "alarm time_wait > 690: time_wait is 700" in done.output
    assert run("--replay", str(recording), "--alarm", "used > 71%").exit_code == 0
    assert run("--replay", str(recording), "--alarm", "cliff < 25s").exit_code == 0
    options = ["--alarm", "time_wait > 690", "--keep-going", "--json"]
    text = run("--replay", str(recording), *options).stdout
    assert [it["value"] for it in json.loads(text)["alarms"]] == [700]


@pytest.mark.parametrize(("suffix", "head"), [(".png", PNG), (".svg", b"<?xml")])
def test_a_recording_is_drawn(recording: Path, suffix: str, head: bytes) -> None:
    picture = recording.with_suffix(suffix)
    done = run("--replay", str(recording), "--plot", str(picture))
    assert done.exit_code == 0, done.output
    assert picture.read_bytes().startswith(head)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--replay", "/dev/null"], "/dev/null has no reports: --record"),
        (["--replay", "/no/such"], "cannot be read"),
        (["--replay", "/dev/null", "--record", "x"], "--record cannot be used with it"),
        (["--plot", "picture.txt"], "end it in .png, .svg, .pdf"),
        (["--record", "/no/such/file"], "cannot be written"),
        (["--openmetrics", "eighty"], "is not a port such as 9187"),
        (["--once", "--", "true"], "exclude each other"),
    ],
)
def test_files_and_addresses_that_make_no_sense_are_refused(
    arguments: list[str], words: str
) -> None:
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert words in done.output


def test_a_recording_of_another_sort_is_an_error_that_names_the_line(recording: Path) -> None:
    recording.write_text(recording.read_text() + '{"schema": 2}\n')
    assert "line 5 has the schema 2" in run("--replay", str(recording)).output
    recording.write_text("[1]\n")
    assert "line 1 is not a report" in run("--replay", str(recording)).output


def test_a_line_that_was_cut_off_is_left_out(recording: Path) -> None:
    whole = recording.read_text()
    recording.write_text(whole[:-10])
    assert len(list(read_recording(recording))) == len(RAMP) - 1


def test_metrics_are_those_of_the_last_report(report: Report) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    changed: Report = json.loads(json.dumps(report))
    changed["budgets"] = [budget(400)]  # type: ignore[list-item]
    with exported(str(port)) as exporter:
        exporter(changed)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/metrics", headers={"Accept": "application/openmetrics-text"}
        )
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            text = answer.read().decode()
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    metrics = {family.name: family for family in families}
    sockets = {
        (sample.labels["family"], sample.labels["state"]): sample.value
        for sample in metrics["vespiary_tcp_sockets"].samples
    }
    assert sockets["ipv4", "listen"] == report["ipv4"]["listen"]
    assert sockets["ipv6", "time_wait"] == report["ipv6"]["time_wait"]
    (cliff,) = metrics["vespiary_tcp_cliff_seconds"].samples
    assert (cliff.value, cliff.labels["destination"]) == (10, "10.0.0.2")
    (end,) = metrics["vespiary_tcp_exhaustion_seconds"].samples
    assert end.value == float("inf")
    counters = {it.labels["counter"] for it in metrics["vespiary_tcp_kernel"].samples}
    assert {"TCPTimeWaitOverflow", "TWRecycled"} <= counters


def test_an_address_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("--openmetrics", str(taken.getsockname()[1]), "--owners", "polling")
    assert done.exit_code == 2
    assert "metrics cannot be served" in done.output


FLOOD = """\
from tests.timewait import traffic as t
t.bring_up()
t.ended(t.listener(t.ADDRESS), 30)
raise SystemExit(7)
"""


@pytest.mark.parametrize(("alarm", "status"), [("time_wait > 20", 110), ("time_wait > 30", 7)])
def test_a_command_is_watched_until_its_end(
    isolated: Isolated, tmp_path: Path, alarm: str, status: int
) -> None:
    path = tmp_path / "report.json"
    options = ["--json", str(path), "--alarm", alarm, "--owners", "polling"]
    words = [sys.executable, "-m", "vespiary", "timewait", *options, "--"]
    done = subprocess.run(
        isolated([*words, sys.executable, "-c", FLOOD]),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == status, done.stderr
    report = json.loads(path.read_text())
    assert report["states"]["time_wait"] == 30
    assert [it["alarm"] for it in report["alarms"]] == ([alarm] if status == 110 else [])
    assert done.stdout == ""
    assert "TIME_WAIT 30" in done.stderr


@pytest.mark.parametrize(("command", "status"), [("no-such-command", 127), ("/tmp", 126)])
def test_a_command_that_cannot_be_run_is_reported_as_a_shell_does(
    command: str, status: int
) -> None:
    words = [sys.executable, "-m", "vespiary", "timewait", "--owners", "polling", "--", command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == status
    assert "cannot run" in done.stderr


def test_a_signal_that_ends_the_command_is_its_exit_code() -> None:
    words = [sys.executable, "-m", "vespiary", "timewait", "--owners", "polling", "--"]
    kill = "kill -TERM $$; sleep 50"
    done = subprocess.run(
        [*words, "sh", "-c", kill], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "closed pipe"])
def test_a_run_ends_with_0_when_it_is_asked_to(how: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    words = [sys.executable, "-m", "vespiary", "timewait", "--interval", "50ms"]
    with subprocess.Popen(
        [*words, "--owners", "polling", "--duration", "1h", "--json", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert b"time_wait" in running.stdout.readline()
        if how == "closed pipe":
            running.stdout.close()
        else:
            running.send_signal(getattr(signal, how))
        assert running.wait(SECONDS) == 0
        assert running.stderr.read() == b""
    assert json.loads(path.read_text())["schema"] == 1


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        ("matplotlib.figure", ["--plot", "picture.png"], "pip install 'vespiary[plots]'"),
        ("prometheus_client", ["--openmetrics", "9187"], "pip install 'vespiary[metrics]'"),
    ],
)
def test_an_extra_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, arguments: list[str], words: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    done = run(*arguments, "--owners", "polling")
    assert done.exit_code == 2
    assert words in done.output


def test_a_terminal_has_a_table_that_is_renewed_and_then_stays() -> None:
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    words = [sys.executable, "-m", "vespiary", "timewait", "--interval", "50ms"]
    environment = os.environ | {"TERM": "xterm"}
    with subprocess.Popen(
        [*words, "--owners", "polling"], stdin=terminal, stdout=terminal, env=environment
    ) as running:
        os.close(terminal)
        shown = b""
        while shown.count(b"By process") < 3:
            shown += os.read(controller, 65536)
        running.send_signal(signal.SIGINT)
        rest = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed.
            while data := os.read(controller, 65536):
                rest += data
        assert running.wait(SECONDS) == 0
    os.close(controller)
    assert rest.rpartition(b"\x1b[?1049l")[2].count(b"By process") == 1
