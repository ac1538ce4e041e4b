"""The tracer's files: encodings, line ends, what cannot be written, and what is interrupted."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vespiary.cli.main import main
from vespiary.errors import ConfigurationError
from vespiary.prove.trace import files

CODE = 'from vespiary_trace import requires\n\ndef f(x):\n    return requires("x/1/1", x > 3)\n'
CATALOGUE = '[specification]\nname = "x"\n\n[[requirement]]\nid = "x/1/1"\nlevel = "MUST"\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "x.toml").write_text(CATALOGUE)
    (tmp_path / "trace.toml").write_text('[sources]\npython = ["*.py"]\n')
    (tmp_path / "code.py").write_text(CODE)
    return tmp_path


def run(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["trace", *arguments, "--config", str(project / "trace.toml")])


@pytest.mark.parametrize(
    "source",
    [
        b"\xef\xbb\xbf" + CODE.encode(),
        CODE.replace("\n", "\r\n").encode(),
        b"# -*- coding: latin-1 -*-\nNAME = '\xe9'\n" + CODE.encode(),
    ],
    ids=["byte order mark", "CRLF", "latin-1"],
)
def test_a_mark_is_found_whatever_the_encoding(project: Path, source: bytes) -> None:
    (project / "code.py").write_bytes(source)
    assert "1 marked (1 mark)" in run(project, "scan").output


@pytest.mark.parametrize("name", ["trace.toml", "requirements/x.toml"])
def test_a_file_that_is_not_utf_8_is_an_error_that_names_it(project: Path, name: str) -> None:
    path = project / name
    path.write_bytes(path.read_bytes() + b"# \xe9\n")
    done = run(project, "scan")
    assert done.exit_code == 2
    assert path.name in done.output
    assert "UTF-8" in done.output


@pytest.mark.parametrize("evidence", [b"[]", b"", b'{"version": 1', b"\xff\xfe", b"{}", b"3"])
def test_evidence_that_was_cut_or_spoilt_is_an_error(project: Path, evidence: bytes) -> None:
    path = project / ".cache" / "trace" / "evidence.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(evidence)
    done = run(project, "report")
    assert done.exit_code == 2
    assert "run" in done.output


def test_renaming_changes_nothing_but_identifiers(project: Path) -> None:
    moved = CATALOGUE.replace("x/1/1", "x/2/1") + 'moved_from = "x/1/1"\n'
    (project / "requirements" / "x.toml").write_text(moved)
    source = b"\xef\xbb\xbf# \xe9\r\n" + CODE.replace("\n", "\r\n").encode()
    (project / "code.py").write_bytes(source)
    assert run(project, "rename").exit_code == 0
    assert (project / "code.py").read_bytes() == source.replace(b"x/1/1", b"x/2/1")


def test_a_file_is_replaced_whole_and_keeps_its_permissions(tmp_path: Path) -> None:
    place = tmp_path / "a" / "place.txt"
    files.write(place, "one")
    place.chmod(0o600)
    link = tmp_path / "link.txt"
    link.symlink_to(place)
    before = place.stat().st_ino
    files.write(link, "two")
    assert place.read_text() == "two"
    assert place.stat().st_ino != before
    assert (place.stat().st_mode & 0o777, link.is_symlink()) == (0o600, True)
    assert [path.name for path in place.parent.iterdir()] == ["place.txt"]


def test_a_place_below_a_file_is_refused_before_the_work(project: Path) -> None:
    (project / "taken").write_text("")
    done = run(project, "prove", "--evidence", str(project / "taken" / "evidence.json"))
    assert done.exit_code == 2
    assert "cannot be written" in done.output
    with pytest.raises(ConfigurationError, match="cannot be written"):
        files.write(project / "taken" / "evidence.json", "")


@pytest.mark.parametrize(
    ("place", "words"),
    [(".", "it is a folder"), ("/proc/none/evidence.json", "/proc takes no files: ")],
)
def test_a_place_that_takes_no_file_is_refused_before_the_work(place: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        files.refuse_unwritable(Path(place))


def test_a_pipe_is_written_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write(pipe, "text")
        assert pipe.is_fifo()
        assert os.read(reader, 10) == b"text"
    finally:
        os.close(reader)


@pytest.mark.parametrize("read", [files.read, files.specification])
def test_a_device_without_an_end_is_refused(
    read: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_BYTES_MAX", 1 << 20)
    with pytest.raises(ConfigurationError, match="/dev/zero cannot be read: it has more"):
        read(Path("/dev/zero"))


def test_a_configuration_without_an_end_is_refused() -> None:
    done = CliRunner().invoke(main, ["trace", "scan", "--config", "/dev/zero"])
    assert done.exit_code == 2
    assert "/dev/zero cannot be read: it has more than 64 MiB" in done.output
