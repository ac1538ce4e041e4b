"""A renamed file or function is one sentence, and what has gone is in no snapshot."""

from pathlib import Path

import pytest

from .folder import SOURCE, Folder

MANY = "".join(f'fn test_more_{number}() {{ claims!("nest/1/1"); }}\n' for number in range(20))


@pytest.fixture
def proven(folder: Folder) -> Folder:
    (folder.root / "a.rs").write_text(SOURCE.partition("fn test_knock")[0])
    (folder.root / "tests.rs").write_text(f"fn test_knock{SOURCE.partition('fn test_knock')[2]}")
    with (folder.root / "tests.rs").open("a") as file:
        file.write(MANY)
    folder.prove_sources()
    assert not folder.errors()
    return folder


def errors_of_change(folder: Folder) -> list[str]:
    errors = folder.errors().splitlines()
    return [error for error in errors if "no test claims it" not in error]


def test_a_renamed_file_is_one_error_with_its_new_name(proven: Folder) -> None:
    (proven.root / "tests.rs").rename(proven.root / "checks.rs")
    assert errors_of_change(proven) == [
        "tests.rs: 22 claims moved from here to checks.rs: run vespiary trace prove"
        " --only nest/1/1 --only nest/1/2"
    ]


def test_functions_that_were_renamed_in_a_file_are_one_error(proven: Folder) -> None:
    text = (proven.root / "tests.rs").read_text()
    (proven.root / "tests.rs").write_text(text.replace("test_more_", "test_other_"))
    [error] = errors_of_change(proven)
    assert error.startswith("tests.rs: test_more_0 is now test_other_0, ")
    assert "and 17 more were renamed: run vespiary trace prove --only nest/1/1" in error


def test_a_file_that_was_removed_is_one_error_with_the_nearest_name(proven: Folder) -> None:
    text = (proven.root / "tests.rs").read_text().splitlines(keepends=True)
    (proven.root / "tests.rs").unlink()
    (proven.root / "test.rs").write_text(text[0])
    assert errors_of_change(proven) == [
        "tests.rs: 1 claim moved from here to test.rs: run vespiary trace prove --only nest/1/1",
        "tests.rs: 21 claims of nest/1/1, nest/1/2 no longer exist here (did you mean test.rs?):"
        " restore them, or run vespiary trace prove",
    ]


def test_the_snapshot_has_no_test_that_has_gone(folder: Folder) -> None:
    folder.prove_sources()
    assert folder.run("snapshot").exit_code == 0
    assert "test_knock" in (folder.root / "snapshot.txt").read_text()
    (folder.root / "a.rs").write_text(SOURCE.replace("fn test_knock", "fn test_other"))
    assert folder.run("snapshot").exit_code == 0
    snapshot = (folder.root / "snapshot.txt").read_text()
    assert "test_knock" not in snapshot
    assert "test_other" in snapshot


def test_a_class_that_claims_is_not_listed_beside_its_tests(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    (folder.root / "outside").mkdir(exist_ok=True)
    (folder.root / "outside" / "test_it.py").write_text(
        "import pytest\n\n@pytest.mark.requirement('nest/1/1')\nclass TestMore:\n"
        "    def test_it(self):\n        pass\n"
    )
    folder.test(0).update(
        id="outside/test_it.py::TestMore::test_it",
        claimant="outside/test_it.py::TestMore::test_it",
        kind="pytest",
    )
    folder.evidence.update(sources=[])
    folder.report()
    tests = [test["id"] for test in folder.report()["requirements"][0]["tests"]]
    assert "outside/test_it.py::TestMore::test_it" in tests
    assert "outside/test_it.py::TestMore" not in tests
