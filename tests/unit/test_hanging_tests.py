"""A test that hangs fails by itself, and the tests after it run."""

import subprocess
import sys
from pathlib import Path

import pytest

IN_A_LOOP = """\
def test_hangs():
    async def wait():
        await asyncio.get_running_loop().create_future()
    vespiary.run(wait())
"""
WHERE_NO_SIGNAL_COMES = """\
def test_hangs():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    threading.Event().wait()
"""


@pytest.mark.parametrize(
    ("hanging", "words"),
    [(IN_A_LOOP, "Timeout (>1.0s)"), (WHERE_NO_SIGNAL_COMES, "crashed while running")],
    ids=["in a loop", "where no signal comes"],
)
def test_a_hang_fails_its_test_and_no_other(tmp_path: Path, hanging: str, words: str) -> None:
    conftest = (Path(__file__).resolve().parents[1] / "conftest.py").read_text()
    (tmp_path / "conftest.py").write_text(f"{conftest}\n\nHANG_SECONDS = 1.0\n")
    settings = "timeout = 1\ntimeout_method = signal\naddopts = -p no:asyncio -p no:randomly"
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{settings} -p no:cacheprovider\n")
    imports = "import asyncio, signal, threading, vespiary\n\n"
    suite = f"{imports}{hanging}\ndef test_passes():\n    pass\n"
    (tmp_path / "test_it.py").write_text(suite)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--numprocesses=1", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert words in done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert done.returncode == 1
