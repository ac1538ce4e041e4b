"""Programs with the structure of reported bugs: a form of each; `benches.locks.bugs` runs all."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benches.locks.attached import descendants, look_at_hang, look_at_healthy
from benches.locks.bugs import programs, source
from benches.locks.detectors import BARE
from benches.locks.verdicts import PROGRAMS, Program, is_ours_right, verdict
from tests.locks.conftest import Result
from tests.locks.real.catalogue import PROGRAMS as REAL

forms = programs()
SAMPLE = [of_path[number % len(of_path)] for number, of_path in enumerate(forms.values())]
"""One form of each program, in turn."""

HANGS = ("reads_again.c", "joins_bundle_threads.c", "import_under_lock.py")


@pytest.fixture(scope="module", autouse=True)
def native() -> Iterator[None]:
    """What the programs with native locks load."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NATIVE", str(BARE.build(PROGRAMS / "native.c", "-shared", "-fPIC")))
        patch.setenv("PYTHONPATH", str(PROGRAMS))
        yield


def test_there_are_sixty_programs_each_with_its_source() -> None:
    assert len(forms) >= 60
    assert len({source(path) for path in forms}) == len(forms)


@pytest.mark.parametrize(
    ("form", "program"), SAMPLE, ids=[f"{program.path.stem}-{form}" for form, program in SAMPLE]
)
def test_a_form_of_a_reported_bug_gets_its_verdict(
    form: str, program: Program, watched: Callable[..., Result]
) -> None:
    command: list[str | Path] = [sys.executable, program.path]
    if program.path.suffix != ".py":
        command = [BARE.build(program.path, "-O1")]
    result = watched(*command, form, options=program.options)
    said = verdict(result.status, result.report["findings"])
    assert is_ours_right(program, said), result.output


@pytest.mark.parametrize("name", HANGS)
def test_attach_finds_the_circle_of_a_reported_hang(name: str) -> None:
    (found,) = (
        program
        for path, of_path in forms.items()
        for form, program in of_path
        if path.name == name and form == "hang"
    )
    assert "in the circle" in look_at_hang(found)


def test_attach_reports_nothing_of_a_healthy_server_under_load() -> None:
    memcached = REAL[0]
    if memcached.path is None:
        pytest.skip(f"{memcached.executable} is not installed (Debian: {memcached.package})")
    looks, _, reported = look_at_healthy(memcached, 20)
    assert looks >= 20
    assert not reported, reported


def test_descendants_are_a_process_and_all_that_come_from_it() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        while len(found := descendants(process.pid)) < 2:
            assert process.poll() is None
        assert found[0] == process.pid
        process.communicate(b"\n", timeout=30)
