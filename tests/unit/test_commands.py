import os
from pathlib import Path

import pytest

from vespiary.prove.commands import why_not


def test_a_file_in_this_folder_is_not_taken_for_a_program_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server.py").touch()
    error = FileNotFoundError(2, os.strerror(2))
    there = why_not("server.py", error)
    assert there.endswith("No such file or directory on PATH; ./server.py is in this folder")
    assert why_not("sevrer.py", error).endswith("No such file or directory on PATH")
    assert "interpreter" in why_not("./server.py", error)
