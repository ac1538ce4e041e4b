"""`python -m benches.memory.version_2`: the tests of the limit on a kernel with cgroup v2.

Many machines have the memory controller in version 1 only. User Mode Linux (Debian's package
user-mode-linux) is a kernel that runs as a program, has version 2, and takes this machine's files
as its own. It boots with a script of ours as its first process, which runs the tests, and is ten
times slower. With systemd's user manager in it, the method `systemd` and `systemd-run` itself hold
the limit over the programs of the comparison too, but not over that of the page cache.

    version_2.py [OPTION...]     options of pytest, such as -k; by default all tests of the limit
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / ".cache"
SECONDS_MAX = 1200
RUNS = 3
"""Of each program, with each tool."""

INIT = """\
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t tmpfs tmp {folder}/tmp
mount -t tmpfs run /run
mkdir -p /run/systemd/system /dev/shm
mount -t tmpfs -o mode=1777 shm /dev/shm
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME={folder}/tmp TMPDIR={folder}/tmp
exec >{folder}/said 2>&1
cd {checkout}
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
{python} -m pytest -q -p no:cacheprovider -o timeout=900 tests/memory/test_limit.py {words}
echo "exit code $?"
sh {folder}/systemd.sh
sync
{python} -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321fedc)'
"""

SYSTEMD = """\
# As another user than root, who owns a group: what a user's session is.
groups=/sys/fs/cgroup/user
mkdir -p $groups/manager $TMPDIR/run
echo +memory >$groups/cgroup.subtree_control
mkdir -p $groups/manager
chmod 777 $TMPDIR
chown -R 65534 $groups $TMPDIR/run
chmod 700 $TMPDIR/run
export XDG_RUNTIME_DIR=$TMPDIR/run PYTHONPATH={checkout}/src PYTHONDONTWRITEBYTECODE=1
echo 0 >$groups/manager/cgroup.procs
setpriv --reuid=65534 --regid=65534 --clear-groups sh -c '
/lib/systemd/systemd --user --unit=basic.target >/dev/null 2>&1 &
for second in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    systemd-run --user --scope --quiet true && break
done
/usr/bin/python3 {folder}/scope.py
'
"""

SCOPE = """\
import subprocess
import sys
from pathlib import Path
sys.path.insert(0, "{checkout}")
from benches.memory import limits
from benches.memory.tools import Tool
from vespiary.prove.memory.run import run
if len(sys.argv) > 1:
    measured = run(sys.argv[2:], int(sys.argv[1]), method="systemd")
    sys.exit(120 if measured.exceeded else measured.status & 127)
script = "kept = []\\nwhile True: kept.append(bytearray(b'x' * 1000000))"
measured = run(["/usr/bin/python3", "-c", script], 100 << 20, method="systemd")
assert measured.exceeded is not None
ending = measured.exceeded.ending_seconds
print(f"systemd: peak {{measured.record.peak / 2**20:.1f}} MiB of 100, ended in {{ending:.3f}} s")
limits.CACHE, limits._SECONDS_MAX = Path("{folder}/tmp"), 300.0
RUN = ["systemd-run", "--user", "--scope", "--quiet", "--collect", "-p", "MemorySwapMax=0"]
OURS = [sys.executable, __file__]
TOOLS = (
    Tool("vespiary memory, systemd", lambda limit, words: [*OURS, str(limit), *words]),
    Tool("systemd-run", lambda limit, words: [*RUN, "-p", f"MemoryMax={{limit}}", "--", *words]),
)
for case in limits.CASES[:4]:
    for tool in TOOLS:
        results = [limits.measure(tool, case) for _ in range({runs})]
        print("|", " | ".join(limits.row(tool, case, results)), "|", flush=True)
"""


def main() -> int:
    """Boot, run, and print what was said; the exit status is 1 if a test failed."""
    linux = shutil.which("linux.uml") or os.environ.get("LINUX_UML")
    if linux is None:
        print("linux.uml is missing: apt-get install user-mode-linux, or set LINUX_UML")
        return 2
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        folder = Path(name)
        facts = {"folder": folder, "checkout": CHECKOUT, "python": sys.executable}
        facts["runs"] = RUNS
        (folder / "tmp").mkdir()
        (folder / "scope.py").write_text(SCOPE.format(**facts))
        (folder / "systemd.sh").write_text(SYSTEMD.format(**facts))
        init = folder / "init"
        init.write_text(INIT.format(**facts, words=" ".join(sys.argv[1:])))
        init.chmod(0o755)
        folder.chmod(0o755)
        words = ["rootfstype=hostfs", "rootflags=/", "rw", "mem=1500M", f"init={init}", "con=null"]
        subprocess.run(
            [linux, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS_MAX,
            check=False,
            env={**os.environ, "TMPDIR": "/dev/shm"},
        )
        said = (folder / "said").read_text()
    print(said)
    return 0 if "exit code 0\n" in said and "systemd: peak 100.0" in said else 1


if __name__ == "__main__":
    sys.exit(main())
