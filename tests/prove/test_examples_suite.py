"""examples/suite.toml: every example is a case under every tool on every driver; a sample runs."""

import shutil
from pathlib import Path

import pytest

from tests.prove.conftest import prove
from vespiary.prove.acceptance.matrix import cells_of
from vespiary.prove.acceptance.reading import read_suite

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

WITHOUT_CASE: dict[str, str] = {
    "traced_project": "not a program: `vespiary trace` reads its tests and requirements",
}
"""An example that is not a case, and why."""


def names() -> set[str]:
    files = {path.stem for path in EXAMPLES.glob("*.py")}
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    return files | folders - {"suites", "__pycache__"}


def test_every_example_is_a_case_or_is_named_with_a_reason() -> None:
    suite = read_suite(EXAMPLES / "suite.toml")
    assert set(suite.cases) | set(WITHOUT_CASE) == names()
    assert not set(suite.cases) & set(WITHOUT_CASE)
    for name, case in suite.cases.items():
        programs = [case.server.command] if case.server else []
        programs += [client.command for client in case.clients if client.command is not None]
        used = [word for words in programs for word in words]
        assert {f"{name}.py", name, f"{name}/wasp.toml"} & set(used), name
        assert case.about, name


def test_every_example_runs_under_every_tool_on_both_drivers() -> None:
    suite = read_suite(EXAMPLES / "suite.toml")
    for name in suite.cases:
        columns = {cell.column for cell in cells_of(suite, name)}
        assert columns == {
            f"{tool}/{driver}"
            for tool in ("plain", "locks", "memory")
            for driver in ("uring", "epoll")
        }, name


def test_every_suite_of_the_folder_can_be_read() -> None:
    for path in EXAMPLES.rglob("suite*/*.toml"):
        assert read_suite(path).cases, path


@pytest.mark.acceptance
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_case_passes_under_valgrind(tmp_path: Path) -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("needs valgrind")
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    cells = ["line_echo/valgrind/epoll", "tls_echo/valgrind/epoll"]
    run = prove(folder / "suite.toml", "--tool", "valgrind", *cells)
    assert run.code == 0, run.output


@pytest.mark.acceptance
@pytest.mark.timeout(240)
def test_a_sample_of_the_examples_passes(tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    cells = ["line_echo/plain/uring", "echo_callback/locks/epoll", "rooms_chat/memory/epoll"]
    run = prove(folder / "suite.toml", *cells)
    assert run.code == 0, run.output
    assert {cell["outcome"] for cell in run.report["cells"]} == {"passed"}
