"""Cores of deadlocked processes, by gcore and by the kernel; or why there is none."""

import json
import os
import resource
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vespiary.prove.locks import cores

PATTERN = Path("/proc/sys/kernel/core_pattern").read_text().strip()
IS_CORE = 4
"""`ET_CORE` of an ELF file's type."""


def is_core(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(18)
    return head[:4] == b"\x7fELF" and struct.unpack_from("<H", head, 16)[0] == IS_CORE


def run(program: Path, folder: Path, tools: str) -> tuple[dict[str, Any], str]:
    """What happened to the core of a program that deadlocks, where these tools are found."""
    report = folder / "report.json"
    verb = [sys.executable, "-m", "vespiary", "locks", "--core", "--json", str(report), "--"]
    done = subprocess.run(
        [*verb, str(program), "2"],
        cwd=folder,
        env={**os.environ, "PATH": tools},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 121, done.stderr
    (core,) = json.loads(report.read_text())["cores"]
    return core, done.stderr


def test_gcore_leaves_a_core_in_the_folder_of_the_command(
    compiled: Callable[..., Path], tmp_path: Path
) -> None:
    core, told = run(compiled("deadlock"), tmp_path, "/usr/local/bin:/usr/bin:/bin")
    path = Path(core["path"])
    assert path == tmp_path / f"core.{core['process']}"
    assert is_core(path)
    assert f"core of process {core['process']}: {path} (by gcore" in told


def test_without_gcore_the_kernel_leaves_one_or_it_is_reported_who_has_it(
    compiled: Callable[..., Path], tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    core, told = run(compiled("deadlock"), tmp_path, str(tools))
    if PATTERN.startswith("|"):
        assert core["path"] is None
        assert PATTERN[1:].split()[0] in core["note"]
        assert "gcore is not installed" in told
    else:
        assert is_core(Path(core["path"]))
        assert "by the kernel, at SIGABRT" in told


@pytest.fixture
def sleeper(request: pytest.FixtureRequest) -> Iterator[int]:
    """A process that runs some Python first, and then does nothing."""
    # A shell starts what it runs in the background with SIGQUIT ignored.
    script = "import signal, time\nsignal.signal(signal.SIGQUIT, signal.SIG_DFL)\n"
    script += f"{getattr(request, 'param', '')}\nprint(flush=True)\n"
    command = [sys.executable, "-c", script + "time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


EVERY = "for n in (6, 3, 5, 31, 24): signal.signal(n, signal.SIG_IGN)"


@pytest.mark.parametrize("sleeper", [EVERY], indirect=True)
def test_a_program_that_takes_every_signal_for_itself_is_reported_to_do_so(
    sleeper: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    core = cores.leave(sleeper, tmp_path)
    assert core.path is None
    assert "handles or blocks every signal" in str(core)


@pytest.mark.parametrize("sleeper", ["signal.signal(6, signal.SIG_IGN)"], indirect=True)
def test_a_signal_is_sent_that_the_program_does_not_take_for_itself(
    sleeper: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []

    def kill(pid: int, number: int) -> None:
        sent.append(number)
        signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(cores, "_PATTERN", tmp_path / "pattern")
    (tmp_path / "pattern").write_text(f"{tmp_path}/core")
    (tmp_path / "core").write_text("of another process")
    began = time.monotonic()
    core = cores.leave(sleeper, tmp_path)
    assert sent == [signal.SIGQUIT]
    # It died of another signal, so there is no core, and that is reported.
    assert core.path is None
    assert time.monotonic() - began < 10


def test_a_limit_that_cannot_be_raised_is_the_reason_told(
    sleeper: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prlimit(pid: int, limit: int, limits: tuple[int, int] | None = None) -> tuple[int, int]:
        if limits is not None:
            raise PermissionError(1, "Operation not permitted")
        return 0, 0

    monkeypatch.setattr(resource, "prlimit", prlimit)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(cores, "_PATTERN", tmp_path / "pattern")
    (tmp_path / "pattern").write_text("core.%p\n")
    core = cores.leave(sleeper, tmp_path)
    assert core.path is None
    assert "limited to nothing (ulimit -Hc)" in str(core)
    assert "gcore is not installed" in str(core)


def test_a_gcore_that_fails_is_reported_with_its_reason(
    sleeper: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "gcore"
    broken.write_text("#!/bin/sh\necho 'ptrace: Operation not permitted.' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(cores, "_signal", lambda pid: None)
    core = cores.leave(sleeper, tmp_path)
    assert "gcore failed: ptrace: Operation not permitted." in str(core)


def test_a_pattern_that_pipes_cores_away_is_reported_with_who_gets_them(
    sleeper: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(cores, "_PATTERN", tmp_path / "pattern")
    (tmp_path / "pattern").write_text("|/usr/lib/systemd/systemd-coredump %P %u\n")
    monkeypatch.setattr(
        os,
        "kill",
        lambda pid, number: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL),
    )
    core = cores.leave(sleeper, tmp_path)
    assert core.path is None
    assert "gave it to /usr/lib/systemd/systemd-coredump" in str(core)
    assert "coredumpctl" in str(core)
