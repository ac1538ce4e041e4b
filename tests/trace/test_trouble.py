"""Tests that fail, break their process or leave something behind: what the prover makes of them."""

import json
import subprocess
from pathlib import Path

import psutil
import pytest

from vespiary.prove.trace.proving.bench import Bench, PythonTest
from vespiary.prove.trace.settings import read_settings

from .proved import Proved, command, environment

pytestmark = pytest.mark.timeout(300)

TESTS = """
import json
import os
import time
from pathlib import Path
import pytest
from vespiary.trace import requires

@pytest.mark.requirement("toy/3/1")
def test_that_always_fails() -> None:
    assert not requires("toy/3/1", True)

@pytest.mark.requirement("toy/3/2")
def test_that_fails_now_and_then() -> None:
    runs = Path(__file__).with_name("runs")
    count = len(runs.read_text()) if runs.exists() else 0
    runs.write_text("x" * (count + 1))
    assert requires("toy/3/2", count == 0)

@pytest.mark.requirement("toy/3/3")
def test_that_ends_the_process() -> None:
    if not requires("toy/3/3", True):
        os._exit(3)

@pytest.mark.requirement("toy/3/4")
def test_that_is_skipped_without_the_mark() -> None:
    if not requires("toy/3/4", True):
        pytest.skip("not this time")

@pytest.mark.requirement("toy/3/5")
def test_that_breaks_what_comes_after_it() -> None:
    broken = os.environ.get("BROKEN")
    if not requires("toy/3/5", True):
        os.environ["BROKEN"] = "1"
        raise AssertionError
    assert not broken

@pytest.mark.requirement("toy/3/6")
def test_that_returns_twice() -> None:
    if os.fork():
        os.wait()
    assert requires("toy/3/6", True)

@pytest.mark.requirement("toy/3/7")
def test_that_replaces_a_function_of_the_library_forever() -> None:
    json.dumps = json.loads = None
    assert requires("toy/3/7", True)

@pytest.mark.requirement("toy/3/8")
def test_that_leaves_a_daemon_behind() -> None:
    if not os.fork():
        os.setsid()
        Path(__file__).with_name(f"daemon-{os.getpid()}").touch()
        time.sleep(600)
        os._exit(0)
    assert requires("toy/3/8", True)
"""


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Proved:
    folder = tmp_path_factory.mktemp("troubled")
    (folder / "test_it.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    config = folder / "trace.toml"
    config.write_text('[sources]\npython = ["*.py"]\n[run]\npytest = ["test_it.py"]\n')
    return Proved(folder, "prove", config=config)


def test_a_test_that_fails_with_nothing_disabled_proves_nothing(troubled: Proved) -> None:
    assert troubled.one("proofs", id="toy/3/1")["verdict"] == "unreached"
    name = "test_it.py::test_that_always_fails"
    assert troubled.one("tests", id=name)["outcome"] == "failed"
    words = f"{name} did not pass with all marks enabled: failed\n"
    assert any(problem.startswith(words) for problem in troubled.told["problems"])
    assert troubled.status == 1


def test_a_test_that_fails_now_and_then_proves_nothing(troubled: Proved) -> None:
    name = "test_it.py::test_that_fails_now_and_then"
    assert troubled.told["unstable"] == [name]
    assert troubled.one("proofs", id="toy/3/2")["verdict"] == "survived"


def test_a_test_whose_process_ends_has_failed(troubled: Proved) -> None:
    assert troubled.one("proofs", id="toy/3/3")["verdict"] == "killed"


def test_a_test_that_is_skipped_has_not_failed(troubled: Proved) -> None:
    assert troubled.one("proofs", id="toy/3/4")["verdict"] == "survived"


def test_what_a_test_breaks_in_its_process_does_not_harm_its_proof(troubled: Proved) -> None:
    assert troubled.one("proofs", id="toy/3/5")["verdict"] == "killed"


@pytest.mark.parametrize("name", ["toy/3/6", "toy/3/7", "toy/3/8"])
def test_what_a_test_does_to_its_process_does_not_reach_the_tracer(
    troubled: Proved, name: str
) -> None:
    assert troubled.one("proofs", id=name)["verdict"] == "killed"
    assert troubled.one("claims", id=name)["verdict"] == "killed"


def test_no_daemon_of_a_test_outlives_the_run(troubled: Proved) -> None:
    daemons = list(troubled.evidence.parent.glob("daemon-*"))
    assert daemons
    for daemon in daemons:
        number = int(daemon.name.partition("-")[2])
        assert not psutil.pid_exists(number) or psutil.Process(number).status() == "zombie"


def test_a_source_whose_marks_run_and_that_is_not_named_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "hive.py").write_text(
        "from vespiary.trace import requires\ndef f():\n    return requires('toy/3/1', True)\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import pytest\nfrom hive import f\n"
        "@pytest.mark.requirement('toy/3/1')\ndef test_it():\n    assert f()\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    config = tmp_path / "trace.toml"
    config.write_text('[sources]\npython = ["test_*.py"]\n[run]\npytest = ["test_it.py"]\n')
    told = Proved(tmp_path, "prove", config=config).told
    assert told["warnings"] == [
        "hive.py: it has marks, and no pattern of [sources] in trace.toml matches it: add one"
    ]


def test_pytest_that_cannot_collect_is_an_error_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("import no_such_module\n")
    config = tmp_path / "trace.toml"
    config.write_text('[sources]\npython = ["*.py"]\n[run]\npytest = ["test_it.py"]\n')
    failed = Proved(tmp_path, "collect", config=config)
    assert failed.status == 2
    assert "No module named 'no_such_module'" in failed.errors


TELLING = """
import pytest
from vespiary.trace import requires

@pytest.mark.requirement("toy/3/1")
def test_it(cache):
    assert cache.get("result", None) is None
    cache.set("result", requires("toy/3/1", True))
    result = cache.get("result", None)
    cache.set("result", None)
    assert result
"""

RERUNNING = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for report in runtestprotocol(item, nextitem=nextitem, log=False):
        if report.failed:
            report.outcome = "rerun"
        item.ihook.pytest_runtest_logreport(report=report)
    return True
"""
"""A plugin that would run a test again as long as it fails."""

FORKING = """
import os, pickle
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    read, write = os.pipe()
    hook, config = item.config.hook, item.config
    if os.fork() == 0:
        reports = runtestprotocol(item, log=False)
        told = [hook.pytest_report_to_serializable(config=config, report=it) for it in reports]
        os.write(write, pickle.dumps(told))
        os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        for data in pickle.load(file):
            report = hook.pytest_report_from_serializable(config=config, data=data)
            item.ihook.pytest_runtest_logreport(report=report)
    os.wait()
    return True
"""
"""A plugin that runs each test in a process of its own."""


def prove_telling(folder: Path, options: str, test: str = TELLING) -> Proved:
    (folder / "test_it.py").write_text(test)
    (folder / "pytest.ini").write_text(f"[pytest]\naddopts = {options}\n")
    config = folder / "trace.toml"
    config.write_text('[sources]\npython = ["test_*.py"]\n[run]\npytest = ["test_it.py"]\n')
    return Proved(folder, "prove", config=config)


@pytest.mark.parametrize(
    "options", ["--ff", "--lf --nf", "--sw --sw-skip", "--cache-clear", "--pdb", "--trace"]
)
def test_options_about_the_last_run_or_a_debugger_change_nothing(
    tmp_path: Path, options: str
) -> None:
    proved = prove_telling(tmp_path, options)
    assert proved.one("proofs", id="toy/3/1")["how"] == "assertion"
    assert proved.told["unstable"] == []
    assert not (tmp_path / ".pytest_cache").exists()


@pytest.mark.parametrize(
    ("plugin", "verdict"),
    [("pytest_rerunfailures", "killed"), ("reruns_of_somebody_else", "survived")],
)
def test_a_failure_that_is_run_again_is_one_only_if_it_stays(
    tmp_path: Path, plugin: str, verdict: str
) -> None:
    (tmp_path / f"{plugin}.py").write_text(RERUNNING)
    proof = prove_telling(tmp_path, f"-p {plugin}").one("proofs", id="toy/3/1")
    assert (proof["verdict"], proof["how"]) == (verdict, "assertion" * (verdict == "killed"))


def test_how_a_test_failed_is_known_from_its_report_alone(tmp_path: Path) -> None:
    (tmp_path / "forking.py").write_text(FORKING)
    proof = prove_telling(tmp_path, "-p forking").one("proofs", id="toy/3/1")
    assert (proof["verdict"], proof["how"]) == ("killed", "assertion")


def test_a_folder_for_the_files_of_tests_is_not_shared_by_processes(tmp_path: Path) -> None:
    test = TELLING.replace("(cache)", "(cache, tmp_path)")
    proved = prove_telling(tmp_path, "--basetemp=here", test)
    assert proved.one("proofs", id="toy/3/1")["how"] == "assertion"
    assert not (tmp_path / "here").exists()


def test_a_file_without_claims_is_collected_only_once(tmp_path: Path) -> None:
    other = "with open(__file__ + '.runs', 'a') as file:\n    file.write('x')\n"
    (tmp_path / "test_other.py").write_text(other)
    (tmp_path / "test_it.py").write_text(TELLING)
    config = tmp_path / "trace.toml"
    config.write_text('[sources]\npython = ["test_*.py"]\n[run]\npytest = ["."]\n')
    proved = Proved(tmp_path, "prove", "--jobs=2", config=config)
    assert proved.one("proofs", id="toy/3/1")["verdict"] == "killed"
    assert (tmp_path / "test_other.py.runs").read_text() == "x"


def test_a_test_may_stand_in_a_file_with_brackets_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "test_[a].py").write_text(TELLING.replace("toy/3/1", "toy/3/2"))
    config = tmp_path / "trace.toml"
    config.write_text('[sources]\npython = ["test_*.py"]\n[run]\npytest = ["."]\n')
    proved = Proved(tmp_path, "prove", config=config)
    assert proved.one("proofs", id="toy/3/2")["verdict"] == "killed"
    assert proved.one("claims", id="toy/3/2")["claimant"] == "test_[a].py::test_it"


def test_claims_of_a_language_whose_tests_are_not_run_are_a_warning(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it():\n    pass\n")
    (tmp_path / "it.rs").write_text('fn it() { claims!("toy/3/1"); claims!("toy/3/2"); }\n')
    config = tmp_path / "trace.toml"
    config.write_text(
        '[sources]\nrust = ["*.rs"]\npython = ["*.py"]\n[run]\npytest = ["test_it.py"]\n'
    )
    assert Proved(tmp_path, "collect", config=config).told["warnings"] == [
        "trace.toml: 2 claims in Rust did not run, because [run] has no cargo: add a line such as"
        ' cargo = ["--features=trace"]'
    ]


def test_a_mark_whose_tests_failed_anyway_is_reported_as_that(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\nfrom vespiary.trace import requires\n"
        "@pytest.mark.requirement('toy/3/1')\n"
        "def test_a():\n    assert not requires('toy/3/1', pytest)\n"
    )
    config = tmp_path / "trace.toml"
    config.write_text('[sources]\npython = ["*.py"]\n[run]\npytest = ["test_it.py"]\n')
    problems = Proved(tmp_path, "prove", config=config).told["problems"]
    assert problems[1:] == [
        "test_it.py:5: the mark of toy/3/1 is claimed only by tests that did not pass with all"
        " marks enabled"
    ]


def test_claims_of_tests_that_show_nothing_are_named(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\nfrom vespiary.trace import requires\n"
        "@pytest.mark.xfail\n@pytest.mark.requirement('toy/3/1')\n"
        "def test_a():\n    assert not requires('toy/3/1', True)\n"
        "@pytest.mark.skip\n@pytest.mark.requirement('toy/3/1')\n"
        "def test_b():\n    assert requires('toy/3/1', True)\n"
        "@pytest.mark.xfail\n@pytest.mark.requirement('toy/3/1')\n"
        "def test_c():\n    assert requires('toy/3/1', True)\n"
    )
    config = tmp_path / "trace.toml"
    config.write_text('[sources]\npython = ["*.py"]\n[run]\npytest = ["test_it.py"]\n')
    told = subprocess.run(
        command("prove", config=config), env=environment(tmp_path), capture_output=True, text=True,
        check=False,
    ).stdout  # fmt: skip
    assert "is claimed only by tests that were skipped or were expected to fail (xfail)" in told
    assert "test_it.py::test_a (xfailed), test_it.py::test_b (skipped)" in told
    assert "test_it.py::test_c (xpassed)" in told
    assert "but passes while the code" not in told


def test_evidence_that_a_test_makes_impossible_to_write_is_kept_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest, shutil\nfrom pathlib import Path\nfrom vespiary.trace import requires\n"
        "@pytest.mark.requirement('toy/3/1')\n"
        "def test_a():\n    cache = Path(__file__).with_name('.cache')\n"
        "    shutil.rmtree(cache, ignore_errors=True)\n    cache.touch()\n"
        "    assert requires('toy/3/1', True)\n"
    )
    config = tmp_path / "trace.toml"
    config.write_text('[sources]\npython = ["*.py"]\n[run]\npytest = ["test_it.py"]\n')
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "toy.toml").write_text('[[requirement]]\nid = "toy/3/1"\n')
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = subprocess.run(
        command("prove", config=config), env=environment(temporary), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    [kept] = temporary.glob("vespiary-evidence-*/evidence.json")
    assert "cannot be written" in done.stderr
    assert f"the evidence is in {kept}: move it, or pass it with --evidence" in done.stderr
    assert json.loads(kept.read_text())["proofs"][0]["verdict"] == "killed"


def test_a_file_of_tests_that_was_renamed_is_named_with_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "test_parcels.py").write_text("")
    config = tmp_path / "trace.toml"
    config.write_text('[sources]\npython = ["*.py"]\n[run]\npytest = ["test_parcel.py"]\n')
    done = subprocess.run(
        command("prove", config=config), env=environment(tmp_path), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.endswith(
        "run.pytest in trace.toml has test_parcel.py, which does not exist: did you mean"
        " test_parcels.py?\n"
    )


def test_too_many_jobs_are_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("")
    config = tmp_path / "trace.toml"
    config.write_text('[sources]\npython = ["*.py"]\n[run]\npytest = ["test_it.py"]\n')
    told = subprocess.run(
        command("prove", "--jobs=1001", config=config), env=environment(tmp_path),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.stderr == "Error: --jobs 1001: must be at most 1000\n"
    assert told.returncode == 2


def test_a_test_that_does_not_end_is_reported_without_what_came_before_it(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "def pytest_collection_finish(session):\n"
        "    capture = session.config.pluginmanager.getplugin('capturemanager')\n"
        "    with capture.global_and_fixture_disabled():\n"
        "        print('a warning of a plugin', flush=True)\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import pytest, signal\n"
        "@pytest.mark.requirement('toy/3/1')\n"
        "def test_a():\n    while True:\n        signal.pause()\n"
    )
    config = tmp_path / "trace.toml"
    config.write_text('[sources]\npython = ["*.py"]\n[run]\npytest = ["test_it.py"]\n')
    bench = Bench(read_settings(config), tmp_path / "table")
    try:
        run = bench.run(PythonTest("test_it.py::test_a", ("toy/3/1",), "test_it.py", 3), 0.5)
    finally:
        bench.close()
    assert (run.outcome, run.words) == ("timeout", "it did not end within 0.5 s")
