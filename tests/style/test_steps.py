"""The tools that run tests say at the very end of their output what failed, and why."""

import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
JUNIT = """\
<testsuites><testsuite>
<testcase classname="tests.unit.test_a" name="test_good"/>
<testcase classname="tests.unit.test_a" name="test_bad[x/y]">
  <failure message="AssertionError: 3 == 4&#10;more">lines</failure></testcase>
<testcase classname="examples.echo" name="echo/plain/uring">
  <failure type="client-exit" message="client-1 ended with 1 instead of 0"/></testcase>
</testsuite></testsuites>
"""
CODE = """
import sys
from pathlib import Path
from run_tests import failures
from steps import Steps
steps = Steps("test")
steps.run("Good", [sys.executable, "-c", ""])
steps.run("Bad", [sys.executable, "-c", "exit(3)"], reasons=lambda: failures(Path(sys.argv[1])))
steps.run("Without reasons", [sys.executable, "-c", "exit(4)"])
sys.exit(steps.finish())
"""


def test_the_last_lines_say_which_tests_and_cells_failed_and_why(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(JUNIT)
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(report)],
        cwd=TOOLS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.splitlines()[-5:] == [
        "test failed: Bad",
        "  tests.unit.test_a.test_bad[x/y]: AssertionError: 3 == 4",
        "  echo/plain/uring: client-exit: client-1 ended with 1 instead of 0",
        "test failed: Without reasons",
        "  exit status 4",
    ]


RUST = """
import sys
from run_tests import RustRun
from steps import Steps
steps = Steps("test")
RustRun(["test a ... ok", "test b ... FAILED", "test c ... ignored, why"], 101, 1.0).report(steps)
sys.exit(steps.finish())
"""


def test_of_the_crates_tests_those_that_failed_or_did_not_run_are_named() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUST],
        cwd=TOOLS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "  test b ... FAILED" in done.stdout.splitlines()
    assert "test c ... ignored, why" in done.stdout.partition("summary")[2]
    assert "test a" not in done.stdout
