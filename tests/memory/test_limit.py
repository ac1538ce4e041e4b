"""The limit: what it ends, what it leaves alone, and that nothing stays behind."""

import os
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.memory.conftest import PROGRAMS, Recorded, command, eventually, lives, possible_methods
from vespiary.prove.memory.hierarchies import memory_version_1, version_2
from vespiary.prove.memory.run import run

CACHE = Path(__file__).resolve().parents[2] / ".cache"
MIB = 1 << 20
PYTHON = sys.executable
TREE = PROGRAMS / "tree.py"

SHARED_BY_FORKS = """
import os, time
block = bytearray(60 << 20)
block[::4096] = b"x" * (len(block) // 4096)
children = []
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        time.sleep(0.4)
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
"""

PAGE_CACHE = """
import sys
data = b"x" * (1 << 20)
with open(sys.argv[1], "wb") as file:
    for _ in range(150):
        file.write(data)
with open(sys.argv[1], "rb") as file:
    while file.read(1 << 20):
        pass
"""

MAPPED_FILE = """
import mmap, sys, time
with open(sys.argv[1], "wb") as file:
    for _ in range(150):
        file.write(b"x" * (1 << 20))
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    total = sum(mapped[at] for at in range(0, len(mapped), 4096))
    time.sleep(0.3)
"""

EACH_COPIES = """
import os, time
block = bytearray(30 << 20)
block[::4096] = b"x" * (len(block) // 4096)
for _ in range(4):
    if os.fork() == 0:
        for at in range(0, len(block), 4096):
            block[at] = 1
        time.sleep(1000)
time.sleep(1000)
"""


def pids_in(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.iterdir() if path.name.isdigit()]


def groups() -> list[Path]:
    """The control groups of runs that are there now."""
    hierarchies = [found for found in (memory_version_1(), version_2()) if found is not None]
    return [path for each in hierarchies for path in each.own.glob("vespiary-memory-*")]


def test_all_processes_are_ended_when_together_they_exceed_the_limit(
    method: str, recorded: Callable[..., Recorded], tmp_path: Path
) -> None:
    folder = tmp_path / "pids"
    folder.mkdir()
    done = recorded("--limit", "120M", "--method", method, "--", PYTHON, TREE, folder, 70 * MIB)
    assert done.code == 120, done.stderr
    assert done.stderr.startswith("vespiary memory: LIMIT EXCEEDED: more than 120.0 MiB after")
    pids = pids_in(folder)
    assert len(pids) == 3
    assert not [pid for pid in pids if lives(pid)]
    assert done.report["outcome"] == "limit"
    assert done.report["method"] == method
    assert done.report["peak_bytes"] >= 119 * MIB
    if method != "sampling":
        assert done.report["peak_bytes"] <= 120 * MIB
    assert set(pids) <= {process["pid"] for process in done.report["processes"]}
    biggest = done.report["exceeded"]["biggest"]
    assert biggest[0]["private_bytes"] >= biggest[1]["private_bytes"]
    assert "tree.py" in biggest[0]["command"]


def test_processes_in_groups_that_the_program_has_made_are_counted_and_named(
    method: str, recorded: Callable[..., Recorded], tmp_path: Path
) -> None:
    """A program that limits others by itself, such as this tool."""
    folder = tmp_path / "pids"
    folder.mkdir()
    inner = "sampling" if method == "systemd" else method  # A scope is not below its caller.
    words = command("--limit", "1G", "--method", inner, "--", PYTHON, TREE, folder, str(70 * MIB))
    done = recorded("--limit", "150M", "--method", method, "--", *words)
    assert done.code == 120, done.stderr
    pids = pids_in(folder)
    assert not [pid for pid in pids if lives(pid)]
    assert set(pids) <= {process["pid"] for process in done.report["processes"]}
    assert "tree.py" in done.report["exceeded"]["biggest"][0]["command"]


def test_no_process_of_the_tree_runs_100_ms_after_the_limit_was_noticed(
    method: str, tmp_path: Path
) -> None:
    """By the time that each process writes down for as long as it runs, and by its end.

    Of ten runs one has to be so fast, on a slow machine too. `python -m benches.memory --only
    endings` measures from the last page that the program touched: between that and the kernel's
    report are the kernel's attempts to free pages, which take a second on a busy machine.
    """
    file = tmp_path / "times"
    words = [PYTHON, str(PROGRAMS / "clocks.py"), str(file)]
    delays = []
    for _ in range(10):
        measured = run(words, 300 * MIB, method=method)
        assert measured.exceeded is not None
        times = struct.unpack("20q", file.read_bytes())
        assert all(times)
        gone = measured.exceeded.seconds + measured.exceeded.ending_seconds
        assert max(times) / 1e9 <= measured.began + gone
        delays.append(measured.exceeded.ending_seconds)
        if delays[-1] < 0.1:
            return
    raise AssertionError(f"processes were there {delays} seconds after the limit was noticed")


PRIORITIES = """
import os, sys, time
deadline = time.monotonic() + 40
while os.sched_getscheduler(os.getppid()) & ~os.SCHED_RESET_ON_FORK != os.SCHED_FIFO:
    if time.monotonic() > deadline:
        sys.exit("the keeper is an ordinary process")
    time.sleep(0.01)
mine = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
sys.exit(mine != (os.SCHED_OTHER, int(sys.argv[1])))
"""


def may_run_first() -> bool:
    """Whether this user may run processes before all ordinary ones."""
    try:
        subprocess.run(["chrt", "--fifo", "1", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@pytest.mark.skipif(not may_run_first(), reason="needs the right to real-time priorities")
def test_the_keeper_runs_before_ordinary_processes_and_the_program_is_one(method: str) -> None:
    """With autogroups a nice value orders only the processes of one session (sched(7))."""
    mine = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    words = [PYTHON, "-c", PRIORITIES, str(mine[1])]
    assert run(words, 300 * MIB, method=method).status == 0
    assert (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)) == mine


def test_memory_that_forked_children_have_in_common_counts_once(
    method: str, recorded: Callable[..., Recorded]
) -> None:
    done = recorded("--limit", "110M", "--method", method, "--", PYTHON, "-c", SHARED_BY_FORKS)
    assert done.code == 0, done.stderr
    assert 60 * MIB < done.report["peak_bytes"] < 110 * MIB


@pytest.mark.parametrize("script", [PAGE_CACHE, MAPPED_FILE])
def test_pages_of_files_count_for_no_limit(
    method: str, recorded: Callable[..., Recorded], script: str
) -> None:
    # Temporary folders may be in memory, where files count.
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        file = Path(folder) / "file"
        done = recorded("--limit", "60M", "--method", method, "--", PYTHON, "-c", script, file)
    assert done.code == 0, done.stderr
    assert done.report["peak_bytes"] < 40 * MIB


def test_pages_that_children_copy_by_writing_count_for_each(
    method: str, recorded: Callable[..., Recorded]
) -> None:
    done = recorded("--limit", "100M", "--method", method, "--", PYTHON, "-c", EACH_COPIES)
    assert done.code == 120, done.stderr


def test_what_outlives_the_command_is_ended_and_named(
    method: str, recorded: Callable[..., Recorded], tmp_path: Path
) -> None:
    folder = tmp_path / "pids"
    folder.mkdir()
    done = recorded("--linger", "50ms", "--method", method, "--", PYTHON, TREE, folder, 0)
    assert done.code == 0, done.stderr
    assert not [pid for pid in pids_in(folder) if lives(pid)]
    assert {each["pid"] for each in done.report["left_behind"]} == set(pids_in(folder))
    assert "outlived the command, and were ended" in done.stderr


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Run the tree, wait until it is there, and give the tool's process."""
    folder.mkdir()
    words = command(*options, "--linger", "1h", "--", PYTHON, TREE, folder, "0")
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    eventually(lambda: (folder / "ready").exists())
    return process


def test_nothing_is_left_when_the_tool_itself_is_killed(method: str, tmp_path: Path) -> None:
    folder = tmp_path / "pids"
    process = start(folder, "--limit", "500M", "--method", method)
    groups_before = groups()
    has_group = any(f"-{process.pid}-" in each.name for each in groups_before)
    assert has_group == method.startswith("cgroup")
    (variable,) = [
        each.decode()
        for each in Path(f"/proc/{pids_in(folder)[0]}/environ").read_bytes().split(b"\0")
        if each.startswith(b"VESPIARY_MEMORY_WORK=")
    ]
    process.kill()
    process.communicate()
    eventually(lambda: not any(lives(pid) for pid in pids_in(folder)))
    eventually(lambda: not Path(variable.partition("=")[2]).parent.exists())
    ours = [each for each in groups_before if f"-{process.pid}-" in each.name]
    eventually(lambda: not any(each.exists() for each in ours))


def keeper_of(tool: int) -> int:
    """The keeper's process: the only child of the tool."""
    (keeper,) = Path(f"/proc/{tool}/task/{tool}/children").read_text().split()
    return int(keeper)


def test_nothing_is_left_when_the_keeper_is_killed(method: str, tmp_path: Path) -> None:
    folder = tmp_path / "pids"
    process = start(folder, "--limit", "500M", "--method", method)
    ours = [each for each in groups() if f"-{process.pid}-" in each.name]
    keeper = keeper_of(process.pid)
    os.kill(keeper, signal.SIGKILL)
    _, output = process.communicate(timeout=45)
    assert "ABORTED: the process that watched the program was killed" in output
    assert process.returncode == 137
    assert not [pid for pid in pids_in(folder) if lives(pid)]
    assert not any(each.exists() for each in ours)


def test_the_next_run_ends_and_removes_what_is_left_when_the_tool_and_the_keeper_are_killed(
    method: str, tmp_path: Path
) -> None:
    """The keeper is stopped first, or it would end everything when the tool is gone."""
    folder = tmp_path / "pids"
    process = start(folder, "--limit", "500M", "--method", method)
    ours = [each for each in groups() if f"-{process.pid}-" in each.name]
    temporary = [
        Path(os.fsdecode(each.partition(b"=")[2])).parent
        for each in Path(f"/proc/{pids_in(folder)[0]}/environ").read_bytes().split(b"\0")
        if each.startswith(b"VESPIARY_MEMORY_WORK=")
    ]
    keeper = keeper_of(process.pid)
    os.kill(keeper, signal.SIGSTOP)
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
    os.kill(keeper, signal.SIGKILL)
    eventually(lambda: not lives(keeper))
    run([PYTHON, "-c", ""], 100 * MIB, method=method)
    assert not any(each.exists() for each in [*ours, *temporary])
    if ours:
        eventually(lambda: not any(lives(pid) for pid in pids_in(folder)))
    for pid in pids_in(folder):  # By sampling, nobody knows them any more.
        if lives(pid):
            os.kill(pid, signal.SIGKILL)


def test_the_program_has_no_descriptor_of_the_tool(method: str) -> None:
    """A program that held the keeper's pipes would hide the keeper's end."""
    script = "import os, sys; sys.exit(len(os.listdir('/proc/self/fd')))"
    bare = subprocess.run([PYTHON, "-c", script], close_fds=False, check=False).returncode
    assert run([PYTHON, "-c", script], 100 * MIB, method=method).status == bare


def test_a_second_signal_ends_everything_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "pids"
    process = start(folder)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=45)
    assert not [pid for pid in pids_in(folder) if lives(pid)]


def test_a_signal_is_passed_on_to_the_program() -> None:
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "print('ready', flush=True)\n"
        "time.sleep(1000)\n"
    )
    words = command("--", PYTHON, "-c", script)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tool:
        assert tool.stdout is not None
        tool.stdout.readline()
        tool.send_signal(signal.SIGTERM)
        tool.communicate(timeout=45)
    assert tool.returncode == 3


def test_a_kept_limit_is_seen_by_nobody(
    method: str, recorded: Callable[..., Recorded], tmp_path: Path
) -> None:
    script = (
        "import os, sys, time; block = b'x' * (50 << 20);"
        " print(os.getpgid(0), file=open(sys.argv[1], 'w')); time.sleep(0.2)"
    )
    file = tmp_path / "group"
    done = recorded("--limit", "200M", "--method", method, "--", PYTHON, "-c", script, file)
    assert done.code == 0, done.stderr
    assert int(file.read_text()) == os.getpgid(0)
    assert 50 * MIB < done.report["peak_bytes"] < 80 * MIB


def test_a_short_peak_between_two_looks_is_seen_by_the_kernel(
    recorded: Callable[..., Recorded],
) -> None:
    script = "block = b'x' * (100 << 20); del block"
    for method in {*possible_methods()} - {"sampling"}:
        done = recorded("--method", method, "--", PYTHON, "-c", script)
        assert done.report["peak_bytes"] > 95 * MIB
