"""The dynamic loader's lock: the detector never waits for it, and follows it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locks.conftest import COMPILER, Result

SOURCES = Path(__file__).parent / "loader"
Loads = Callable[[str], Result]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loader")
    library, program = SOURCES / "library.c", SOURCES / "program.c"
    loads = ["-pthread", "-rdynamic", str(program), "-ldl", "-o"]
    for words in (
        ["-shared", "-fPIC", str(library), "-o", str(folder / "library.so")],
        [*loads, str(folder / "program")],
        [*loads, str(folder / "with_path"), "-Wl,-rpath,$ORIGIN"],
    ):
        subprocess.run([COMPILER, "-O1", "-g", *words], check=True)
    return folder


@pytest.fixture
def loads(built: Path, watched: Callable[..., Result]) -> Loads:
    return lambda what: watched(built / "program", built / "library.so", what)


def test_a_program_whose_constructors_wait_for_a_lock_continues_as_without_the_detector(
    loads: Loads,
) -> None:
    result = loads("healthy")
    assert result.status == 0, result.output
    assert not result.report["findings"]


@pytest.mark.parametrize(("what", "function"), [("order", "holds"), ("close", "holds")])
def test_orders_with_the_loaders_lock_are_orders(what: str, function: str, loads: Loads) -> None:
    result = loads(what)
    assert result.status == 120, result.output
    (found,) = result.findings("inversion")
    kinds = {lock["kind"] for lock in found["locks"]}
    assert kinds == {"mutex", "loader's lock"}
    assert "the dynamic loader's lock" in result.output
    wanted = [stack["wanted_at"][0]["function"] for stack in found["stacks"]]
    assert function in wanted


def test_a_deadlock_with_the_loaders_lock_is_found(loads: Loads) -> None:
    result = loads("hang")
    assert result.status == 121, result.output
    (found,) = result.findings("deadlock")
    assert {lock["kind"] for lock in found["locks"]} == {"mutex", "loader's lock"}


def test_a_library_is_found_by_the_path_in_the_programs_own_file(
    built: Path, watched: Callable[..., Result]
) -> None:
    result = watched(built / "with_path", "library.so", "healthy")
    assert result.status == 0, result.output


def test_a_lock_ends_with_the_library_that_has_it(
    tmp_path: Path, watched: Callable[..., Result]
) -> None:
    source = tmp_path / "own.c"
    source.write_text(
        "#include <pthread.h>\npthread_mutex_t own_mutex = PTHREAD_MUTEX_INITIALIZER;\n"
    )
    libraries = [tmp_path / "first.so", tmp_path / "second.so"]
    for library in libraries:
        subprocess.run([COMPILER, "-shared", "-fPIC", source, "-o", library], check=True)
    program = tmp_path / "unloads"
    words = ["-O1", "-g", "-pthread", str(SOURCES / "unloads.c"), "-ldl", "-o", str(program)]
    subprocess.run([COMPILER, *words], check=True)
    result = watched(program, *libraries)
    if result.status == 77:
        pytest.skip("the second library came to another address")
    assert result.status == 0, result.output
