"""Cases on other machines: real OpenSSH servers in network namespaces of their own."""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from tests.prove.conftest import PROVE, prove
from tests.prove.machines import Machine, machines

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(400)]

SECONDS = 150.0
LOAD = [sys.executable, "-m", "vespiary", "load"]
PEERS: list[str] = []
CASE = """
[cases.c{number}]
server.command = ["{{python}}", "server.py", "{{port}}"]
server.ready.port = "{{port}}"
[[cases.c{number}.clients]]
command = ["sh", "-c", "echo on {{host}}; touch {folder}/c{number}; sleep {sleep}"]
within = "10min"
"""


class Echo(BaseRequestHandler):
    def handle(self) -> None:
        PEERS.append("{}:{}".format(*self.client_address))
        while received := self.request.recv(65536):
            self.request.sendall(received)


@contextlib.contextmanager
def echoing() -> Iterator[int]:
    """A server on all addresses of this machine; its port."""
    PEERS.clear()
    with ThreadingTCPServer(("0.0.0.0", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def write(suite: Path, made: list[Machine], cases: int, sleep: float) -> None:
    text = "".join(f"[hosts.h{n}]\n{machine.table()}" for n, machine in enumerate(made))
    for number in range(cases):
        text += CASE.format(number=number, sleep=sleep, folder=suite.parent / "marks")
    (suite.parent / "marks").mkdir()
    suite.write_text(text + '[ship]\nignore = ["marks", "disk*", "*.log", "key", "host_key"]\n')


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def processes_on(machine: Machine) -> list[str]:
    """What runs there, apart from sshd: agents and cases name the disk, or were started by it."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = str((path / "cwd").readlink())
        except OSError:
            continue
        if str(machine.disk) in command + where:
            found.append(command)
    return found


def test_cases_run_on_hosts_and_their_files_come_back(suite: Path) -> None:
    with machines(suite.parent, 2) as made:
        write(suite, made, 6, 0.2)
        files = suite.parent / "files"
        run = prove(suite, "--artifacts", str(files))
        assert run.code == 0, run.output
        assert {cell["ran_on"] for cell in run.report["cells"]} == {"h0", "h1"}
        assert (files / "c3/plain/client-1.log").read_text().startswith("on ")
        assert "serving" in run.cell("c3/plain")["logs"]["server"]
        for machine in made:
            wait_until(lambda machine=machine: not processes_on(machine))  # type: ignore[misc]
            assert not list((machine.disk / "prove/runs").iterdir())
        there = sorted(path.name for path in (made[0].disk / "prove").iterdir())
        assert prove(suite, "c1").code == 0
        assert sorted(path.name for path in (made[0].disk / "prove").iterdir()) == there


def wheel(folder: Path, version: str) -> Path:
    """A wheel of a module that knows its version."""
    path = folder / "shipped-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (
            ("shipped/__init__.py", f"VERSION = {version!r}\n"),
            ("shipped-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: shipped\n"),
        ):
            archive.writestr(zipfile.ZipInfo(name), text)  # The same bytes at any time.
    return path


def test_a_wheel_is_sent_once_and_again_when_its_content_has_changed(suite: Path) -> None:
    with machines(suite.parent, 1) as made:
        folder = made[0].disk / "prove"
        (suite.parent / "dist").mkdir()
        suite.write_text(f"""
[hosts.h0]
{made[0].table()}
[ship]
folders = ["."]
wheels = ["dist/shipped-1-py3-none-any.whl"]
ignore = ["disk*", "*.log", "key", "host_key", "dist"]
[cases.a]
clients = [{{ command = ["{{python}}", "-c", "import shipped; print(shipped.VERSION)"] }}]
""")
        names = []
        for version in ("one", "one", "two"):
            path = wheel(suite.parent / "dist", version)
            names.append(hashlib.sha256(path.read_bytes()).hexdigest())
            before = set(folder.iterdir()) if folder.exists() else set()
            run = prove(suite)
            assert run.code == 0, run.output
            assert run.cell("a/plain")["logs"]["client-1"].strip() == version
            added = {each.name for each in set(folder.iterdir()) - before}
            is_new = names[-1] not in names[:-1]
            assert (names[-1] in added) == is_new
            if before:
                # Nothing else was sent again.
                assert added == ({names[-1]} if is_new else set())


def test_a_wheel_that_is_not_there_is_named(suite: Path) -> None:
    suite.write_text("""
[hosts.none]
ssh = "-p 1 127.0.0.1"
[ship]
wheels = ["dist/none.whl"]
[cases.a]
clients = [{ command = "true" }]
""")
    run = prove(suite)
    assert run.code == 2
    assert "ship.wheels: there is no" in run.output
    assert "none.whl" in run.output


def test_a_host_that_is_cut_off_and_one_whose_disk_is_full_lose_no_case(suite: Path) -> None:
    with machines(suite.parent, 3) as made:
        write(suite, made, 60, 0.5)
        report = suite.parent / "report.json"
        command = [*PROVE, str(suite), "--json", str(report)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        marks = suite.parent / "marks"
        wait_until(lambda: len(list(marks.iterdir())) >= 12)
        made[0].cut()
        made[1].fill()
        _, output = process.communicate(timeout=300)
        assert process.returncode == 0, output
        assert "60 cells: 60 passed" in output
        # ssh itself may notice first that nothing comes back.
        assert re.search("lost   h0: (nothing was heard from it|the connection ended)", output)
        assert "lost   h1: " in output
        assert "disk" in output.split("lost   h1: ")[1].split("\n")[0]
        assert "begun on h0, which was lost" in report.read_text()
        for machine in made:
            wait_until(lambda machine=machine: not processes_on(machine))  # type: ignore[misc]


def test_nothing_runs_on_when_the_runner_is_killed(suite: Path) -> None:
    with machines(suite.parent, 1) as made:
        write(suite, made, 1, 600)
        process = subprocess.Popen([*PROVE, str(suite)], stderr=subprocess.DEVNULL)
        wait_until((suite.parent / "marks/c0").exists)
        assert processes_on(made[0])
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: not processes_on(made[0]))


def test_without_any_host_that_answers_cells_could_not_be_run(suite: Path) -> None:
    suite.write_text("""
[hosts.none]
ssh = "-p 1 127.0.0.1"
[cases.a]
clients = [{ command = "true" }]
""")
    run = prove(suite)
    assert run.code == 3
    assert run.kinds("a/plain") == {"host"}
    assert "lost   none: no connection" in run.output
    assert prove(suite, "--local").code == 0


def naming(folder: Path, made: list[Machine]) -> Path:
    """A suite that names machines as its hosts, and of which nothing is run."""
    folder.mkdir()
    hosts = folder / "suite.toml"
    text = "".join(f"[hosts.h{n}]\n{machine.table()}" for n, machine in enumerate(made))
    hosts.write_text(text + '[cases.none]\nclients = [{ command = "true" }]\n')
    return hosts


def test_load_comes_from_all_hosts_and_is_reported_as_one(suite: Path) -> None:
    with machines(suite.parent, 2) as made, echoing() as port:
        hosts = naming(suite.parent / "hosts", made)
        url = f"tcp://{made[0].gateway}:{port}"
        words = [url, "--connections", "5", "--messages", "20", "--json", "-"]
        done = subprocess.run(
            [*LOAD, *words, "--hosts", str(hosts)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert (report["connected"], report["received"], report["clean"]) == (5, 100, True)
        assert report["driver"].endswith(" on h0, h1")
        assert len({peer.partition(":")[0] for peer in PEERS}) == 2
        made[1].cut()
        lost = subprocess.run(
            [*LOAD, *words, "--hosts", str(hosts)], capture_output=True, text=True, check=False
        )
        assert lost.returncode == 1
        assert "vespiary load: h1: it was lost" in lost.stderr
        report = json.loads(lost.stdout)
        assert (report["connections"], report["connected"], report["received"]) == (5, 3, 60)
        assert report["hosts_failed"].keys() == {"h1"}


def test_of_a_host_that_is_cut_off_the_report_has_what_it_sent_before(suite: Path) -> None:
    with machines(suite.parent, 2) as made, echoing() as port:
        hosts = naming(suite.parent / "hosts", made)
        url = f"tcp://{made[0].gateway}:{port}"
        words = [url, "--connections", "4", "--rate", "100", "--duration", "16s", "--json", "-"]
        process = subprocess.Popen(
            [*LOAD, *words, "--hosts", str(hosts)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if re.search(r"[6-9]\.\d s  sending ", line):
                made[1].cut()
                break
        output, rest = process.communicate(timeout=300)
        assert process.returncode == 1, rest
        report = json.loads(output)
        assert "nothing was heard" in rest or "the connection ended" in rest
        # h0 sent 800 messages, and h1 50 per second for at least two seconds.
        assert 850 <= report["received"] < 1_600
        assert not report["complete"]
        assert report["hosts_failed"].keys() == {"h1"}
        for machine in made:
            wait_until(lambda machine=machine: not processes_on(machine))  # type: ignore[misc]
