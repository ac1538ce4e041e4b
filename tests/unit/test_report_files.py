"""Reports of tools as files: names that are not UTF-8, full disks, empty commands."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest
from click.testing import CliRunner

from vespiary.cli.main import main
from vespiary.errors import ConfigurationError
from vespiary.prove.folders import Held

TOOLS = ("memory", "locks", "timewait")
NOT_UTF_8 = os.fsencode("a\udcff\x1b\uffff")


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vespiary", *map(os.fsencode, words)],  # type: ignore[arg-type]
        capture_output=True,
        errors="replace",
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("tool", ["memory", "locks"])
def test_a_command_that_is_not_utf_8_can_stand_in_every_report(tool: str, tmp_path: Path) -> None:
    paths = {kind: tmp_path / f"report.{kind}" for kind in ("json", "html", "junit")}
    options = [word for kind, path in paths.items() for word in (f"--{kind}", path)]
    done = run(tool, *options, "--", sys.executable, "-c", "import threading", NOT_UTF_8)
    assert "Traceback" not in done.stderr
    assert "\\udcff" in paths["html"].read_text(encoding="utf-8")
    ElementTree.parse(paths["junit"])
    assert paths["json"].stat().st_size


@pytest.mark.parametrize("tool", TOOLS)
def test_an_empty_command_is_not_found_as_in_a_shell(tool: str) -> None:
    done = run(tool, "--", "")
    assert done.returncode == 127
    assert "cannot run '': the command's first word is empty" in done.stderr


def test_a_full_disk_under_one_report_does_not_stop_the_others(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = run("memory", "--json", "/dev/full", "--html", page, "--", "true")
    assert done.returncode == 2
    assert "/dev/full could not be written: No space left" in done.stderr
    assert page.stat().st_size


def test_too_few_descriptors_are_named_with_the_remedy() -> None:
    raised = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    done = CliRunner().invoke(_failing(raised), ["status"])
    assert done.exit_code == 2
    assert "too many open files: raise the limit, for example with `ulimit -n 4096`" in done.stderr


def test_a_system_without_proc_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    raised = FileNotFoundError(errno.ENOENT, "", "/proc/self/cgroup")
    assert CliRunner().invoke(_failing(raised), ["status"]).exception is raised
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    done = CliRunner().invoke(_failing(raised), ["status"])
    assert done.exit_code == 2
    assert "/proc/self/cgroup cannot be read: /proc is not mounted" in done.stderr


def _failing(error: OSError) -> click.Group:
    """The group of all commands, of which one fails with this error."""

    @click.command()
    def status() -> None:
        raise error

    class Group(type(main)):  # type: ignore[misc]
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
            return status

    return Group(name="vespiary")


def test_no_place_for_temporary_folders_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(ConfigurationError, match="set TMPDIR"):
        Held("vespiary-")
