"""The command itself: what it runs, what it leaves, what it writes, how it ends."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from html import unescape
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.prove.conftest import PROVE, Run, prove
from vespiary.prove.acceptance import suite as suite_module
from vespiary.prove.acceptance.outcome import KINDS, Result

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

CHECKOUT = Path(__file__).resolve().parents[2]
SECONDS = 30.0

LONG = """
[cases.long]
server.command = ["{python}", "server.py", "{port}", "child"]
server.ready.port = "{port}"
clients = [{ command = ["sh", "-c", "touch MARK; sleep 600"], within = "10min" }]
timeout = "10min"
[cases.other]
clients = [{ command = "sleep 600", within = "10min" }]
"""


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def processes_of(folder: Path) -> list[str]:
    """The commands of all processes whose working folder is this one or that name it."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = (path / "cwd").readlink()
        except OSError:
            continue
        if where == folder or str(folder) in command:
            found.append(command)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_when_the_command_is_ended(number: int, suite: Path) -> None:
    mark = suite.parent / "mark"
    suite.write_text(LONG.replace("MARK", str(mark)))
    report, temporary = suite.parent / "report.json", suite.parent / "tmp"
    temporary.mkdir()  # Other runs on this machine have theirs elsewhere.
    command = [*PROVE, str(suite), "--jobs", "2", "--json", str(report)]
    variables = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=variables)
    wait_until(mark.exists)
    assert len(list(temporary.glob("vespiary-prove-*"))) == 2
    process.send_signal(number)
    process.communicate(timeout=SECONDS)
    expected = -number if number == signal.SIGKILL else 130
    assert process.returncode == expected
    wait_until(lambda: not processes_of(suite.parent))
    wait_until(lambda: not list(temporary.iterdir()))
    groups = Path("/sys/fs/cgroup").rglob(f"vespiary-memory-{process.pid}-*")
    wait_until(lambda: not list(groups))
    if number != signal.SIGKILL:
        assert json.loads(report.read_text())["interrupted"] is True


def test_each_case_has_a_network_of_its_own_where_that_is_allowed(suite: Path) -> None:
    suite.write_text("""
[cases.own]
clients = [{ command = ["readlink", "/proc/self/ns/net"] }]
[cases.other]
clients = [{ command = ["readlink", "/proc/self/ns/net"] }]
""")
    run = prove(suite)
    here = str(Path("/proc/self/ns/net").readlink())
    names = [run.cell(f"{name}/plain")["logs"]["client-1"].strip() for name in ("own", "other")]
    notes = run.cell("own/plain")["notes"]
    if notes:
        assert names == [here, here]
        assert "without its own network" in run.output
    else:
        assert here not in names
    shared = prove(suite, "own", "--shared-network")
    assert shared.cell("own/plain")["logs"]["client-1"].strip() == here


def test_seeds_names_and_drivers_reach_the_programs(suite: Path) -> None:
    suite.write_text("""
[matrix]
drivers = ["epoll"]
workers = [3]
[cases.names]
environment = { SEED = "{seed}" }
clients = [{ command = ["sh", "-c", "echo $SEED {workers} {tool} $VESPIARY_DRIVER {{tool}}"] }]
""")
    first = prove(suite, "--seed", "5")
    again = prove(suite, "--seed", "5", "names/*")
    other = prove(suite, "--seed", "6")
    outputs = [run.cell("names/plain/epoll/3")["logs"]["client-1"] for run in (first, again, other)]
    assert outputs[0] == outputs[1] != outputs[2]
    seed = first.cell("names/plain/epoll/3")["seed"]
    assert outputs[0] == f"{seed} 3 plain epoll {{tool}}\n"


def test_until_fail_repeats_with_new_seeds_and_keeps_the_failure(suite: Path) -> None:
    count = suite.parent / "count"
    suite.write_text(f"""
[cases.third]
clients = [{{ command = ["sh", "-c", "echo >> {count}; test $(wc -l < {count}) -lt 3"] }}]
""")
    run = prove(suite, "--until-fail", "--seed", "10")
    assert run.code == 1
    assert run.report["seed"] == 12
    assert run.kinds("third/plain") == {"client-exit"}
    count.unlink()
    assert prove(suite, "--until-fail", "--repeat", "2").code == 0


def test_programs_have_the_search_path_of_the_command_and_not_that_of_its_processes(
    suite: Path,
) -> None:
    suite.write_text("""
        [cases.path]
        clients = [{ command = ["sh", "-c", "echo path=${PYTHONPATH-none}"] }]
    """)
    assert "path=/here:/there\n" in logs(prove(suite, PYTHONPATH="/here:/there"))
    assert "path=none\n" in logs(prove(suite, PYTHONPATH=""))


def logs(run: Run) -> str:
    log: str = run.cell("path/plain")["logs"]["client-1"]
    return log


def test_an_interpreter_is_found_from_the_folder_of_the_command(suite: Path) -> None:
    (suite.parent / "elsewhere").mkdir()
    (suite.parent / "python").symlink_to(sys.executable)
    suite.write_text("""
        [cases.a]
        clients = [{ command = ["{python}", "-c", ""], folder = "elsewhere" }]
    """)
    done = subprocess.run(
        [*PROVE, str(suite), "--python", "./python"],
        cwd=suite.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_history_marks_cells_as_flaky_whose_outcome_changed_twice(suite: Path) -> None:
    flag = suite.parent / "flag"
    suite.write_text(f'[cases.odd]\nclients = [{{ command = ["test", "-e", "{flag}"] }}]\n')
    history = ["--history", str(suite.parent / "history.sqlite")]
    page = suite.parent / "page.html"
    flaky = []
    for is_there in (False, True, False):
        flag.touch() if is_there else flag.unlink(missing_ok=True)
        run = prove(suite, *history, "--html", str(page))
        flaky.append(run.cell("odd/plain")["flaky"])
    assert flaky == [False, False, True]
    assert 'class="flaky">flaky<' in page.read_text()
    assert "Last 3 runs" in page.read_text()


def test_the_page_plots_how_earlier_runs_went(suite: Path) -> None:
    flag = suite.parent / "flag"
    suite.write_text(f"""
        [cases.odd]
        clients = [{{ command = ["test", "-e", "{flag}"] }}]
        [cases.even]
        clients = [{{ command = "true" }}]
    """)
    page = suite.parent / "page.html"
    options = ["--history", str(suite.parent / "history.sqlite"), "--html", str(page)]
    prove(suite, *options)
    assert '"axis": "runs"' not in unescape(page.read_text())
    flag.touch()
    run = prove(suite, *options)
    figures = re.findall('data-plot="([^"]*)"', page.read_text())
    plots = [json.loads(unescape(figure)) for figure in figures]
    lines = [
        {line["name"]: line for line in plot["lines"]} for plot in plots if plot["axis"] == "runs"
    ]
    counts, whole = lines[:2]
    assert counts["cells"]["values"] == [2, 2]
    assert counts["not passed"]["values"] == [1, 0]
    assert whole["whole run"]["seconds"] == [1, 2]
    seconds = [each["time"]["values"][-1] for each in lines if "time" in each]
    assert seconds == pytest.approx([cell["seconds"] for cell in run.report["cells"]], rel=1e-4)
    peaks = [each["peak memory"]["values"] for each in lines if "peak memory" in each]
    assert len(peaks) == 2


def test_reports_say_what_failed_and_keep_the_files(suite: Path) -> None:
    suite.write_text("""
[cases.good]
clients = [{ command = ["sh", "-c", "echo fine; echo more > {artifacts}/own.txt"] }]
[cases.bad]
clients = [{ command = ["sh", "-c", "echo '<script>'; exit 7"] }]
""")
    folder = suite.parent
    junit, page = folder / "junit.xml", folder / "page.html"
    run = prove(
        suite,
        *("--junit", str(junit), "--html", str(page), "--artifacts", str(folder / "files")),
    )
    assert run.report["totals"] == {"passed": 1, "failed": 1, "error": 0}
    root = ElementTree.parse(junit).getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("2", "1", "0")
    failure = root.find("testcase[@name='bad/plain']/failure")
    assert failure is not None
    assert failure.get("message") == "client-1 ended with 7 instead of 0"
    text = page.read_text()
    assert "1 failed of 2 cells" in text
    assert 'href="#bad%2Fplain"' in text
    assert "&lt;script&gt;" in text
    assert 'href="files/good/plain/own.txt"' in text
    assert (folder / "files/good/plain/own.txt").read_text() == "more\n"
    assert (folder / "files/good/plain/client-1.log").read_text() == "fine\n"


def test_what_cannot_be_written_in_the_end_costs_nothing_else(suite: Path) -> None:
    suite.write_text('[cases.one]\nclients = [{ command = "true" }]\n')
    history, page = suite.parent / "history.sqlite", suite.parent / "page.html"
    assert prove(suite, "--history", str(history)).code == 0
    with sqlite3.connect(history) as database:
        database.execute("DROP TABLE cells")
        database.execute("CREATE TABLE cells (run INTEGER, id TEXT)")
    run = prove(suite, "--junit", "/dev/full", "--html", str(page))
    assert run.code == 2
    assert "1 cell: 1 passed" in run.output
    assert "/dev/full could not be written" in run.output
    assert page.stat().st_size
    run = prove(suite, "--history", str(history), "--html", str(page))
    assert run.code == 2
    assert "1 cell: 1 passed" in run.output
    assert "history.sqlite: the results could not be added to the history: " in run.output
    assert run.report["totals"]["passed"] == 1


def test_control_characters_of_a_program_do_not_reach_the_terminal(suite: Path) -> None:
    suite.write_text("""
[cases.one]
clients = [{ command = ['printf', '\\033[31mred'], output = ["blue"] }]
""")
    run = prove(suite)
    assert run.code == 1
    assert "| \\x1b[31mred" in run.output
    assert "\x1b" not in run.output


def test_cells_that_did_not_pass_are_repeated_with_their_reasons_at_the_end(suite: Path) -> None:
    suite.write_text("""
[cases.bad]
clients = [{ command = ["sh", "-c", "exit 7"] }]
[cases.good]
clients = [{ command = "true" }]
[cases.worse]
clients = [{ command = "/nowhere/at/all" }]
""")
    run = prove(suite, "--jobs", "1")
    lines = run.output.splitlines()
    assert [line[:26].rstrip() for line in lines[-6:-1]] == [
        "2 cells did not pass:",
        "failed bad/plain",
        "       client-exit: client",
        "error  worse/plain",
        "       not-run: client-1:",
    ]
    assert lines[-1].startswith("vespiary prove: 3 cells: 1 passed, 1 failed, 1 could not be run")
    assert "did not pass" not in prove(suite, "good").output


def test_the_list_has_every_cell_and_runs_nothing(suite: Path) -> None:
    suite.write_text(
        '[matrix]\ntools = ["plain", "locks"]\n[cases.a]\nclients = [{ load = "x" }]\n'
    )
    done = subprocess.run([*PROVE, str(suite), "--list"], capture_output=True, text=True)
    assert done.stdout == "a/plain\na/locks\n"


def test_cases_run_side_by_side_only_as_far_as_memory_allows(suite: Path) -> None:
    text = "".join(
        f'[cases.c{number}]\nmemory = "100M"\nclients = [{{ command = ["sh", "-c", '
        f'"date +%s.%N; sleep 0.5; date +%s.%N"] }}]\n'
        for number in range(3)
    )
    suite.write_text(text)
    run = prove(suite, "--jobs", "3", "--memory", "150M")
    spans = sorted(
        tuple(map(float, cell["logs"]["client-1"].split())) for cell in run.report["cells"]
    )
    assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_mistakes_in_options_and_files_end_with_2(suite: Path) -> None:
    suite.write_text('[cases.a]\nclients = [{ comand = "true" }]\n')
    run = prove(suite)
    assert run.code == 2
    assert f"{suite}:2: cases.a.clients[0].comand: unknown key: did you mean 'command'?" in (
        run.output
    )
    suite.write_text('[cases.a]\nclients = [{ command = "true" }]\n')
    assert prove(suite, "b").code == 2
    assert prove(suite, "--html", "/nowhere/page.html").code == 2


def test_the_reference_has_every_key_every_field_and_every_kind() -> None:
    text = (CHECKOUT / "docs/reference/prove.md").read_text()
    kinds = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", text[text.index("### Kinds") :], re.M))
    assert kinds == KINDS
    for name in (
        "Case",
        "Checks",
        "Client",
        "Counter",
        "File",
        "Host",
        "Matrix",
        "Ready",
        "Ship",
        "Stop",
        "Tool",
    ):
        for field in fields(getattr(suite_module, name)):
            assert re.search(rf"`(\w+\.)*{field.name}(\.\w+)?`", text), f"{name}.{field.name}"
    for field in fields(Result):
        assert f"`{field.name}`" in text, field.name
