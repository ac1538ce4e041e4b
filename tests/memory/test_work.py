"""Units of work: reported by programs, their children, and the load client."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.memory.conftest import command, eventually
from vespiary.errors import ConfigurationError
from vespiary.prove.memory.work import VARIABLE, WorkReports

FORKS = """
import os
from vespiary.prove.memory import report_work
for _ in range(1000):
    report_work()
if os.fork() == 0:
    report_work(5)
    raise SystemExit
os.wait()
"""

SERVER = """
import sys, vespiary

class Echo(vespiary.Handler):
    def on_start(self, server):
        print("ready", *server.urls, flush=True)

    def on_message(self, connection, message):
        connection.send(message)

vespiary.serve(Echo(), "tcp://127.0.0.1:0", framing="line")
"""


def test_every_unit_arrives_also_those_of_a_forked_child(tmp_path: Path) -> None:
    reports = WorkReports(tmp_path / "work")
    environment = {**os.environ, VARIABLE: str(reports.path)}
    subprocess.run([sys.executable, "-c", FORKS], env=environment, check=True)
    reports.read()
    reports.close()
    assert reports.units == 1005
    assert not reports.path.exists()


def test_without_the_variable_nothing_is_reported() -> None:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    subprocess.run([sys.executable, "-c", FORKS], env=environment, check=True)


def test_a_pipe_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "work").touch()
    with pytest.raises(ConfigurationError, match=r"a pipe cannot be made at .*work: File exists"):
        WorkReports(tmp_path / "work")


def test_the_load_client_reports_its_messages(tmp_path: Path) -> None:
    report, work = tmp_path / "report.json", tmp_path / "work"
    words = command("--json", report, "--work", work, "--", sys.executable, "-c", SERVER)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tool:
        assert tool.stdout is not None
        url = tool.stdout.readline().split()[1]
        load = [sys.executable, "-m", "vespiary", "load", url, "--framing", "line"]
        load += ["--messages", "3000"]
        environment = {**os.environ, VARIABLE: str(work)}
        subprocess.run(load, env=environment, check=True, capture_output=True)
        tool.send_signal(signal.SIGTERM)
        tool.communicate(timeout=45)
    eventually(report.exists)
    assert '"units": 3000,' in report.read_text()
