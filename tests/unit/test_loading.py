import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vespiary._loading import load_object
from vespiary.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of modules; what they add to the interpreter is taken away again."""
    (tmp_path / "echoes.py").write_text("class Echo:\n    inner = 5\n\nNOT_AN_ECHO = 1\n")
    (tmp_path / "broken_echo.py").write_text("import no_such_thing_at_all\n")
    (tmp_path / "raising_echo.py").write_text("def start():\n    return 1 // 0\n\nstart()\n")
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_an_object_of_a_module_is_found(folder: Path) -> None:
    assert load_object("echoes:Echo", folder).__name__ == "Echo"


def test_a_dotted_object_is_found(folder: Path) -> None:
    assert load_object("echoes:Echo.inner", folder) == 5


def test_an_object_of_a_file_is_found(folder: Path) -> None:
    assert load_object("echoes.py:Echo", folder).__name__ == "Echo"


def test_a_file_may_import_what_lies_beside_it(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "neighbour_of_echo.py").write_text("FOUND = 7\n")
    (folder / "sub" / "file_echo.py").write_text("from neighbour_of_echo import FOUND\n")
    assert load_object("sub/file_echo.py:FOUND", folder) == 7


@pytest.mark.parametrize("reference", ["echoes", "echoes:", ":Echo", ""])
def test_a_reference_without_module_or_object_is_refused(folder: Path, reference: str) -> None:
    with pytest.raises(ConfigurationError, match="write MODULE:OBJECT"):
        load_object(reference, folder)


def test_a_missing_module_is_named_with_the_nearest_ones(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no module 'echos' .*did you mean echoes"):
        load_object("echos:Echo", folder)


def test_a_missing_file_is_named_with_the_nearest_ones(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no file .*/echos\.py; did you mean echoes\.py"):
        load_object("echos.py:Echo", folder)


def test_a_missing_object_is_named_with_the_nearest_ones(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"echoes has no 'Ecko'; did you mean Echo\?"):
        load_object("echoes:Ecko", folder)


def test_a_missing_import_of_the_modules_own_is_reported_with_its_place(folder: Path) -> None:
    with pytest.raises(ConfigurationError) as got:
        load_object("broken_echo:Echo", folder)
    assert "broken_echo could not be imported" in str(got.value)
    assert 'broken_echo.py", line 1' in str(got.value)
    assert "No module named 'no_such_thing_at_all'" in str(got.value)


@pytest.mark.parametrize("reference", ["raising_echo:Echo", "raising_echo.py:Echo"])
def test_an_exception_while_importing_is_reported_without_our_own_frames(
    folder: Path, reference: str
) -> None:
    with pytest.raises(ConfigurationError) as got:
        load_object(reference, folder)
    assert "ZeroDivisionError" in str(got.value)
    assert "in start" in str(got.value)
    assert "importlib" not in str(got.value)
    assert "_loading.py" not in str(got.value)
