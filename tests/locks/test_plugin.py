"""`pytest --locks`, on test files made for it."""

import subprocess
import sys
from pathlib import Path

TWO_ORDERS = """
import threading

a, b = threading.Lock(), threading.Lock()

def thread(body):
    thread = threading.Thread(target=body)
    thread.start()
    return thread

def in_order(first, second):
    with first, second:
        pass

def test_the_first_order():
    release.clear()
    others.append(thread(lambda: (in_order(a, b), release.wait())))

def test_something_else():
    with a:
        pass

def test_the_second_order():
    thread(lambda: in_order(b, a)).join()
    release.set()
    others.pop().join()

def test_after_it():
    with b:
        pass

others = []
release = threading.Event()
"""


def run(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:randomly\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_test_that_completes_a_circle_is_the_one_that_fails(tmp_path: Path) -> None:
    done = run(tmp_path, TWO_ORDERS, "--locks")
    assert done.returncode == 1, done.stdout
    assert "ERROR at teardown of test_the_second_order" in done.stdout
    assert "INVERSION" in done.stdout
    assert "4 passed, 1 error" in done.stdout


def test_without_the_option_nothing_is_watched(tmp_path: Path) -> None:
    done = run(tmp_path, TWO_ORDERS)
    assert done.returncode == 0, done.stdout
    assert "vespiary locks" not in done.stdout


def test_clean_tests_pass_and_what_was_covered_is_reported(tmp_path: Path) -> None:
    done = run(tmp_path, "import queue\ndef test_it():\n    queue.Queue().put(1)\n", "--locks")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vespiary locks:" in done.stdout
    assert "not covered: the locks inside buffered files (CPython" in done.stdout


def test_a_deadlock_ends_the_run_and_is_reported(tmp_path: Path) -> None:
    program = Path(__file__).parent / "programs" / "python_deadlock.py"
    text = (
        "import runpy, sys\n"
        "def test_it(monkeypatch):\n"
        "    monkeypatch.setattr(sys, 'argv', ['program', '3'])\n"
        f"    runpy.run_path({str(program)!r})\n"
    )
    done = run(tmp_path, text, "--locks")
    assert done.returncode == 121, done.stdout + done.stderr
    assert "DEADLOCK" in done.stderr
    assert "take_next" in done.stderr


def test_a_child_processs_inversion_fails_the_run(tmp_path: Path) -> None:
    program = Path(__file__).parent / "programs" / "python_two_orders.py"
    text = (
        "import subprocess, sys\n"
        f"def test_it():\n    subprocess.run([sys.executable, {str(program)!r}], check=True)\n"
    )
    done = run(tmp_path, text, "--locks")
    assert done.returncode == 1, done.stdout
    assert "lock orders of other processes" in done.stdout
    assert "1 passed" in done.stdout
