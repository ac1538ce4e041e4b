"""The command: exit codes, options, reports."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.memory.conftest import PROGRAMS, Recorded, at_once, command, memory

PYTHON = sys.executable
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reference" / "memory.md"


def test_the_programs_own_exit_code_is_kept() -> None:
    done = memory("--limit", "500M", "--", PYTHON, "-c", "import sys; sys.exit(7)")
    assert done.returncode == 7
    assert done.stderr.startswith("vespiary memory: the program failed with exit code 7")


RELOADING = """
import signal, sys
signal.signal(signal.SIGHUP, lambda *_: print("reloaded", flush=True))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_a_server_that_was_asked_to_reload_can_still_end_by_itself() -> None:
    words = command("--", sys.executable, "-c", RELOADING)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(2):
            process.send_signal(signal.SIGHUP)
            assert process.stdout.readline() == "reloaded\n"
        process.terminate()
        assert process.wait(100) == 7


def test_a_signal_that_ends_the_program_is_reported_as_a_shell_does(
    recorded: Callable[..., Recorded],
) -> None:
    done = recorded("--limit", "500M", "--", PYTHON, "-c", "import os; os.kill(os.getpid(), 9)")
    assert done.code == 128 + 9
    assert done.report["outcome"] == "signal"
    assert done.report["program_signal"] == 9
    assert done.stderr.startswith("vespiary memory: the program was ended by SIGKILL\n")


def test_a_command_that_cannot_be_run_ends_as_a_shell_would_end(tmp_path: Path) -> None:
    done = at_once("--", "/no/such/program")
    assert done.exit_code == 127
    assert "cannot run '/no/such/program': No such file" in done.stderr
    (tmp_path / "text").write_text("no program\n")
    done = at_once("--", tmp_path / "text")
    assert done.exit_code == 126
    assert "chmod +x" in done.stderr


def test_help_has_the_exit_codes_and_a_missing_command_is_asked_for() -> None:
    done = at_once("--help")
    for code in (2, 120, 121, 122, 126, 127):
        assert re.search(rf"^ +{code} +\w", done.output, re.M), code
    done = at_once()
    assert done.exit_code == 2
    assert "vespiary memory --limit 200M -- COMMAND" in done.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--limit", "much"], "'much' is not a size such as 1000, 64KiB or 2MiB"),
        (["--peak", "high"], "'high' is not a peak such as '180 MiB +-10 %'"),
        (["--slope", "flat"], "'flat' is not a slope such as '0'"),
        (["--learn"], "--learn needs --expect FILE"),
        (["--expect", "/no/file.toml"], "/no/file.toml cannot be read: No such file"),
        (["--json", "/no/folder/file"], "/no/folder/file cannot be written: No such file"),
        (["--learn", "--expect", "/no/folder/file"], "/no/folder/file cannot be written: No such"),
    ],
)
def test_what_makes_no_sense_is_an_error_before_the_run(
    options: list[str], words: str, tmp_path: Path
) -> None:
    done = at_once(*options, "--", "/bin/touch", tmp_path / "it-ran")
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())
    assert not (tmp_path / "it-ran").exists()


def test_more_than_the_expected_peak_has_its_own_exit_code(
    recorded: Callable[..., Recorded],
) -> None:
    script = "block = bytearray(b'x' * (60 << 20)); import time; time.sleep(0.1)"
    done = recorded("--peak", "30 MiB +-10 %", "--", PYTHON, "-c", script)
    assert done.code == 121
    assert done.report["outcome"] == "expectation"
    assert done.stderr.startswith("vespiary memory: MORE THAN EXPECTED: peak\n")
    done = recorded("--peak", "500 MiB +-10 %", "--", PYTHON, "-c", script)
    assert done.code == 0
    assert [each["result"] for each in done.report["expectations"]] == ["below"]
    assert "less than expected: --learn updates" in done.stderr


def test_a_leak_per_unit_of_work_is_measured_and_fails_the_expected_slope(
    recorded: Callable[..., Recorded],
) -> None:
    words = ["--slope", "0", "--", PYTHON, PROGRAMS / "steady.py", "3", "20000", "200"]
    done = recorded(*words)
    assert done.code == 121, done.stderr
    assert done.report["trend"] == "grows"
    assert done.report["units"] > 50_000
    assert 170 < done.report["slope_bytes_per_unit"] < 260
    low, high = done.report["slope_bytes_per_unit_interval"]
    assert low <= done.report["slope_bytes_per_unit"] <= high
    assert 2e6 < done.report["slope_bytes_per_second"] < 6e6


def test_the_repaired_program_passes(recorded: Callable[..., Recorded]) -> None:
    words = ["--slope", "0", "--", PYTHON, PROGRAMS / "steady.py", "2", "20000", "0"]
    done = recorded(*words)
    assert done.code == 0, done.stderr
    assert done.report["trend"] == "flat"


def test_a_slope_that_cannot_be_judged_does_not_pass(recorded: Callable[..., Recorded]) -> None:
    done = recorded("--slope", "0", "--", "/bin/true")
    assert done.code == 122
    assert (done.report["outcome"], done.report["trend"]) == ("not-judged", "unclear")
    assert "unclear: too short: " in done.stderr
    done = recorded("--slope", "1 KiB per 1000 messages", "--", "/bin/sleep", "1.5")
    assert done.code == 122
    assert "no units of work were reported (VESPIARY_MEMORY_WORK)" in done.stderr


def test_work_is_reported_by_any_language(recorded: Callable[..., Recorded]) -> None:
    script = 'for each in 100 100 100 x; do echo $each >> "$VESPIARY_MEMORY_WORK"; done'
    done = recorded("--", "/bin/sh", "-c", script)
    assert done.report["units"] == 300
    assert "1 report of work is not a number" in done.stderr


def test_what_was_learned_is_met_by_the_next_run(tmp_path: Path) -> None:
    file = tmp_path / "memory.toml"
    file.write_text('["another"]\npeak = "< 1 GiB"\n')
    words: list[str | Path] = ["--expect", file, "--name", "sleeper", "--", "/bin/sleep", "1.3"]
    done = at_once("--learn", *words)
    assert done.exit_code == 0, done.stderr
    assert file.read_text().splitlines()[2:] == [
        '["another"]',
        'peak = "< 1 GiB"',
        "",
        '["sleeper"]',
        re.search(r"^peak = .* \+-10 %\"$", file.read_text(), re.M)[0],  # type: ignore[index]
        'slope = "0"',
    ]
    done = at_once("--expect", file, "--name", "slepper", "--", "/bin/true")
    assert done.exit_code == 2
    assert "has no entry 'slepper'" in done.stderr
    assert "'sleeper'" in done.stderr


def test_a_mistake_in_the_file_to_learn_into_is_an_error_before_the_run(tmp_path: Path) -> None:
    file = tmp_path / "memory.toml"
    file.write_text('["another"]\npeek = "< 1 GiB"\n')
    done = at_once("--learn", "--expect", file, "--", "/bin/touch", tmp_path / "it-ran")
    assert done.exit_code == 2
    assert "did you mean 'peak'?" in done.stderr
    assert not (tmp_path / "it-ran").exists()


def test_a_failed_run_teaches_nothing(tmp_path: Path) -> None:
    file = tmp_path / "memory.toml"
    done = at_once("--learn", "--expect", file, "--", "/bin/false")
    assert done.exit_code == 1
    assert "was not written: the run failed" in done.stderr
    assert not file.exists()


def test_junit_has_the_outcome(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    at_once("--junit", file, "--name", "one", "--peak", "< 1", "--", "/bin/true")
    suite = ElementTree.parse(file).getroot()
    assert (suite.get("failures"), suite.get("errors")) == ("1", "0")
    (case,) = suite
    assert case.get("name") == "one"
    (failure,) = case
    assert failure.get("type") == "expectation"
    at_once("--junit", file, "--slope", "0", "--", "/bin/true")
    suite = ElementTree.parse(file).getroot()
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")
    at_once("--junit", file, "--", "/bin/true")
    suite = ElementTree.parse(file).getroot()
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")


def test_the_document_describes_every_field_of_the_json(
    recorded: Callable[..., Recorded],
) -> None:
    described = set(re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(), re.M))
    report = recorded("--", "/bin/sleep", "0.2").report
    assert set(report) <= described
    assert set(report["samples"][0]) | set(report["processes"][0]) <= described
    assert json.dumps(report)


def test_the_memory_over_time_is_drawn() -> None:
    done = at_once("--", "/bin/sleep", "0.3")
    assert re.search(r"^ +0 +0\.\d s$", done.stderr, re.M)
