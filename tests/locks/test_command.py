"""The command: its options, the files it writes, and what it says of wrong ones."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.locks.conftest import Result
from vespiary.errors import ConfigurationError
from vespiary.prove.locks.known_files import read_suppressions


def locks(*words: str | Path | int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vespiary", "locks", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


def test_the_programs_own_exit_code_is_kept_when_nothing_was_found() -> None:
    script = "import sys, threading; threading.Lock().acquire(); sys.exit(7)"
    assert locks("--", sys.executable, "-c", script).returncode == 7


def test_a_signal_that_ends_the_program_is_reported_as_a_shell_does() -> None:
    script = "import os, threading; threading.Lock().acquire(); os.kill(os.getpid(), 9)"
    assert locks("--", sys.executable, "-c", script).returncode == 128 + 9


def test_a_program_that_fails_without_a_lock_keeps_its_exit_code() -> None:
    done = locks("--", "sh", "-c", "kill -SEGV $$")
    assert done.returncode == 128 + 11
    assert "no lock operation was seen" in done.stderr
    assert locks("--", "false").returncode == 1
    assert locks("--", "true").returncode == 124


def test_a_command_that_cannot_be_run_ends_as_a_shell_would_end(tmp_path: Path) -> None:
    done = locks("--", "/no/such/program")
    assert done.returncode == 127
    assert "cannot run '/no/such/program': No such file" in done.stderr
    text, script = tmp_path / "text", tmp_path / "script"
    text.write_text("no program\n")
    done = locks("--", text)
    assert done.returncode == 126
    assert "chmod +x" in done.stderr
    text.chmod(0o755)
    done = locks("--", text)
    assert done.returncode == 126
    assert "a script begins with #!" in done.stderr
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    done = locks("--", script)
    assert done.returncode == 127
    assert "the interpreter or dynamic linker that it asks for is not there" in done.stderr


def test_help_has_the_exit_codes_and_a_missing_command_is_asked_for() -> None:
    done = locks("--help")
    for code in (2, 120, 121, 122, 123, 124, 126, 127):
        assert re.search(rf"^ +{code} +\w", done.stdout, re.M), code
    done = locks()
    assert done.returncode == 2
    assert "vespiary locks -- COMMAND" in done.stderr
    assert locks("--no-such-option", "true").returncode == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--full-max", "1MiB", "--", "true"), "add --full"),
        (("--full", "--full-max", "0", "--", "true"), "--full-max must be more than 0"),
        (("--stall", "0", "--", "true"), "--stall must be more than 0"),
        (("attach", "1", "--stall", "2s"), "--stall needs --watch"),
        (("attach", "1", "--watch", "1s", "--stall", "0"), "--stall must be more than 0"),
        (("attach", "1", "--watch", "0"), "--watch must be at least 10ms"),
    ],
)
def test_an_option_without_effect_or_without_end_is_refused(
    words: tuple[str, ...], told: str
) -> None:
    done = locks(*words)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_report_that_cannot_be_written_is_reported_before_the_run(tmp_path: Path) -> None:
    done = locks("--json", tmp_path / "no" / "folder.json", "--", "/bin/echo", "it ran")
    assert done.returncode == 2
    assert "folder.json cannot be written: No such file" in done.stderr
    assert "it ran" not in done.stdout


def test_a_program_for_another_c_library_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "for_musl"
    data = Path("/bin/true").read_bytes()
    linker = b"/lib64/ld-linux-x86-64.so.2"
    assert linker in data
    program.write_bytes(data.replace(linker, b"/lib/ld-musl-x86_64.so.1\0\0\0"))
    program.chmod(0o755)
    done = locks("--", program)
    assert done.returncode == 2
    assert "is linked with the C library musl" in done.stderr
    assert "attach PID" in done.stderr


def test_junit_sarif_and_annotations_name_the_finding(
    compiled: Callable[..., Path], tmp_path: Path
) -> None:
    junit, sarif = tmp_path / "junit.xml", tmp_path / "locks.sarif"
    program = compiled("two_orders")
    done = locks("--junit", junit, "--sarif", sarif, "--annotations", "--", program)
    assert done.returncode == 120
    suite = ElementTree.parse(junit).getroot()
    assert suite.get("failures") == "1"
    signature = suite.findall("testcase")[0].get("name")
    (result,) = json.loads(sarif.read_text())["runs"][0]["results"]
    assert result["partialFingerprints"] == {"vespiaryLocks/v1": signature}
    assert result["ruleId"] == "inversion"
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("common.h")
    assert done.stdout.startswith("::error file=")
    assert f"inversion {signature}" in done.stdout


def test_a_junit_report_without_findings_has_a_test_that_passed(
    compiled: Callable[..., Path], tmp_path: Path
) -> None:
    junit = tmp_path / "junit.xml"
    assert locks("--junit", junit, "--", compiled("one_order")).returncode == 0
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0")


def test_no_format_passes_a_run_that_covered_nothing(
    compiled: Callable[..., Path], tmp_path: Path
) -> None:
    junit, sarif = tmp_path / "junit.xml", tmp_path / "locks.sarif"
    program = compiled("two_orders", "-static")
    done = locks("--junit", junit, "--sarif", sarif, "--annotations", "--", program)
    assert done.returncode == 124
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")
    assert "statically linked" in (suite.findtext("system-out") or "")
    (invocation,) = json.loads(sarif.read_text())["runs"][0]["invocations"]
    assert invocation["executionSuccessful"] is False
    levels = [note["level"] for note in invocation["toolExecutionNotifications"]]
    assert levels == ["error", "warning"]
    assert "::error::no lock operation was seen" in done.stdout
    assert "::notice::not covered:" in done.stdout


def test_signatures_are_the_same_in_every_run(
    compiled: Callable[..., Path], tmp_path: Path
) -> None:
    signatures = set()
    for number in range(3):
        report = tmp_path / f"{number}.json"
        locks("--json", report, "--", compiled("ring_of_three"))
        (finding,) = json.loads(report.read_text())["findings"]
        signatures.add(finding["signature"])
    assert len(signatures) == 1


def test_a_baseline_lets_what_was_there_pass_and_nothing_else(
    compiled: Callable[..., Path], tmp_path: Path
) -> None:
    baseline = tmp_path / "baseline.json"
    program = compiled("two_orders")
    assert locks("--write-baseline", baseline, "--", program).returncode == 120
    done = locks("--baseline", baseline, "--", program)
    assert done.returncode == 0, done.stderr
    assert "in the baseline: inversion" in done.stderr
    assert locks("--baseline", baseline, "--", compiled("ring_of_three")).returncode == 120


def test_a_suppression_covers_what_its_pattern_meets_and_an_unused_one_is_reported(
    compiled: Callable[..., Path], tmp_path: Path
) -> None:
    suppressions = tmp_path / "suppress.toml"
    suppressions.write_text(
        '[[suppress]]\nreason = "known for years"\nkind = "inversion"\nstack = ["*:b_then_a"]\n'
        '[[suppress]]\nreason = "long gone"\nstack = ["*:no_such_function"]\n'
    )
    done = locks("--suppress", suppressions, "--", compiled("two_orders"))
    assert done.returncode == 0, done.stderr
    assert "suppressed: inversion" in done.stderr
    assert "known for years" in done.stderr
    assert "not met: the suppression of" in done.stderr
    assert "long gone" in done.stderr
    assert locks("--suppress", suppressions, "--", compiled("spin_locks")).returncode == 120


def test_a_stripped_programs_places_have_no_wrong_names(
    compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    # `main` is the one name that is left, and the functions around it have none.
    result = watched(compiled("two_orders", "-s", "-rdynamic"))
    assert result.status == 120
    (finding,) = result.findings("inversion")
    for stack in finding["stacks"]:
        own = [frame for frame in stack["wanted_at"] if frame["module"].startswith("two_orders")]
        assert own
        for frame in own:
            assert frame["function"].startswith("+0x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("suppress = 3 = 4", "line 1"),
        ("[suppress]\nreason = 1", r"begins with a line \[\[suppress\]\]"),
        ('[[suppress]]\nreason = "r"\nkind = "wrong"\nstack = ["x"]', "kind 'wrong' is unknown"),
        ('[[suppress]]\nreason = "r"\nsignature = "123"', "16 hexadecimal digits"),
        ('[[suppress]]\nstack = ["x"]', ":1: `reason` is missing"),
        ('\n[[suppress]]\nreason = "r"', ":2: add `signature`, `stack` or `made`"),
        (
            '[[suppress]]\nreason = "r"\nstacks = ["x"]',
            ":1: stacks is unknown; did you mean stack?",
        ),
        ('[[suppress]]\nreason = "r"\nstack = "x"', "stack is a list"),
    ],
)
def test_a_wrong_suppression_is_reported_with_its_place(
    text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "suppress.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_suppressions(path)


def test_delays_from_a_seed_bring_out_what_full_speed_hides(
    compiled: Callable[..., Path],
) -> None:
    done = locks("--repeat", "20", "--perturb", "--seed", "1", "--", compiled("hidden"))
    assert done.returncode == 120, done.stderr
    assert "perturbing from the seed 1" in done.stderr
    assert "run 20 of 20" in done.stderr


def test_more_processes_than_there_are_descriptors_are_all_looked_at(
    compiled: Callable[..., Path], tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    verb = [sys.executable, "-m", "vespiary", "locks", "--json", str(report)]
    shell = ["sh", "-c", 'ulimit -Sn 180; exec "$@"', "sh"]
    words = [*shell, *verb, "--", str(compiled("prefork"))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 120, done.stderr
    coverage = json.loads(report.read_text())["coverage"]
    assert coverage["processes"] == 400
    assert coverage["lost"] == {}


def test_what_only_some_runs_need_is_not_imported_at_the_start() -> None:
    script = "import sys, vespiary.cli.locks; print(*sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.removeprefix("vespiary.prove.locks.") for name in done.stdout.split()}
    assert "run" in loaded
    assert not loaded & {"analysis", "attach", "cores", "figures", "formats", "page", "statistics"}


@pytest.mark.parametrize("option", ["json", "html", "junit", "sarif", "write-baseline"])
def test_a_report_that_finds_the_disk_full_is_named_after_the_summary(option: str) -> None:
    script = "import threading; threading.Lock().acquire()"
    done = locks(f"--{option}", "/dev/full", "--", sys.executable, "-c", script)
    assert done.returncode == 2, done.stderr
    assert "0 findings" in done.stderr
    assert "/dev/full could not be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_closed_standard_streams_stay_closed_and_get_no_file_of_the_commands(
    tmp_path: Path,
) -> None:
    report = tmp_path / "report.json"
    script = (
        "import os, sys, threading\nthreading.Lock().acquire()\n"
        "for number in range(3):\n"
        "    try: os.fstat(number)\n"
        "    except OSError: continue\n"
        "    sys.exit(1)\n"
    )
    verb = [sys.executable, "-m", "vespiary", "locks", "--json", str(report)]
    words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *verb, "--", sys.executable, "-c", script]
    done = subprocess.run(words, timeout=50, check=False)
    assert done.returncode == 0
    assert json.loads(report.read_text())["findings"] == []


def test_a_look_whose_report_or_output_cannot_be_written_says_so(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        done = locks("attach", process.pid, "--json", tmp_path / "no" / "report.json")
        assert done.returncode == 2
        assert "cannot be written: No such file or directory" in done.stderr
        command = [sys.executable, "-m", "vespiary", "locks", "attach", str(process.pid)]
        with Path("/dev/full").open("w") as full:
            ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
        assert ended.returncode == 1
        told = b"Error: the output could not be written: No space left on device"
        assert told in ended.stderr
        assert b"Traceback" not in ended.stderr
        process.kill()
