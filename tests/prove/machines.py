"""Machines for tests of hosts: network namespaces, each with an OpenSSH server and a disk.

Where a test run was killed, its namespaces, links, servers and disks stay. So each run has a folder
that it holds while it lives, with the names of its machines, and the next run removes the machines
of folders that nobody holds.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vespiary.prove.folders import SUFFIX, dead, hold

SECONDS = 30.0
DISK = "200M"
"""What a test can fill soon."""

RECORDS = "test-machines-"
"""The names of the folders begin with this, which no command of Vespiary removes."""

CONFIGURATION = """
ListenAddress {address}
Port 22
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
"""


def do(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


class Machine:
    """A network namespace with sshd, behind a link of its own."""

    def __init__(self, folder: Path, record: Path, number: int, disk: str) -> None:
        self.name = f"vprove{os.getpid() % 10_000}-{number}"
        self.link = f"vp{os.getpid() % 10_000}-{number}"
        third = os.getpid() % 200 + number
        self.address = f"10.213.{third}.2"
        self.gateway = f"10.213.{third}.1"
        self.disk = record / f"disk{number}"
        self._folder = folder
        (record / f"{self.name} {self.link}").touch()
        self.disk.mkdir()
        do("mount", "-t", "tmpfs", "-o", f"size={disk}", "none", str(self.disk))
        do("ip", "netns", "add", self.name)
        do("ip", "link", "add", self.link, "type", "veth", "peer", "eth0", "netns", self.name)
        do("ip", "address", "add", f"10.213.{third}.1/24", "dev", self.link)
        do("ip", "link", "set", self.link, "up")
        inside = ["ip", "netns", "exec", self.name]
        do(*inside, "ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        do(*inside, "ip", "link", "set", "eth0", "up")
        do(*inside, "ip", "link", "set", "lo", "up")
        do(*inside, "ip", "route", "add", "default", "via", self.gateway)
        configuration = folder / f"sshd{number}.conf"
        text = CONFIGURATION.format(address=self.address, folder=folder)
        configuration.write_text(text)
        sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        assert sshd is not None
        with (folder / f"sshd{number}.log").open("wb") as log:
            self._sshd = subprocess.Popen(
                [*inside, sshd, "-D", "-e", "-f", str(configuration)], stderr=log, stdout=log
            )

    @property
    def ssh(self) -> str:
        """The arguments of ssh that lead here."""
        return (
            f"-i {self._folder}/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
            f" -o LogLevel=ERROR root@{self.address}"
        )

    def wait(self) -> None:
        """Wait until it lets us in."""
        deadline = time.monotonic() + SECONDS
        command = ["ssh", "-o", "BatchMode=yes", *self.ssh.split(), "true"]
        while subprocess.run(command, capture_output=True, check=False).returncode != 0:
            assert time.monotonic() < deadline, "sshd does not let us in"
            time.sleep(0.1)

    def table(self) -> str:
        """The host for a suite file."""
        return f'ssh = "{self.ssh}"\npython = "{sys.executable}"\nfolder = "{self.disk}/prove"\n'

    def cut(self) -> None:
        """Pull the cable."""
        do("ip", "link", "set", self.link, "down")

    def fill(self) -> None:
        """Fill the disk."""
        with contextlib.suppress(OSError), (self.disk / "filling").open("wb", buffering=0) as file:
            while file.write(b"x" * (1 << 20)):
                pass

    def remove(self) -> None:
        """Take everything away."""
        self._sshd.terminate()
        self._sshd.wait(SECONDS)
        remove(self.name, self.link)


def remove(name: str, link: str) -> None:
    """Remove a namespace with all that runs in it, and its link."""
    inside = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
    for pid in map(int, inside.stdout.split()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    subprocess.run(["ip", "link", "delete", link], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def remove_record(record: Path) -> None:
    """Remove the machines of a run, their disks, and the folder with their names."""
    for path in record.glob("* *"):
        remove(*path.name.split())
    for path in record.glob("disk*"):
        subprocess.run(["umount", "-l", str(path)], capture_output=True, check=False)
    shutil.rmtree(record, ignore_errors=True)


@contextlib.contextmanager
def machines(folder: Path, count: int, disk: str = DISK) -> Iterator[list[Machine]]:
    """So many machines with disks of a size; skips where they cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    if not shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip("needs an OpenSSH server (Debian: openssh-server)")
    parent = Path(tempfile.gettempdir())
    for each in dead(parent, RECORDS):
        remove_record(each)
    record, holds = hold(lambda: Path(tempfile.mkdtemp(SUFFIX, RECORDS, parent)))
    record.chmod(0o711)  # A program may become another user, and use its files on the disk.
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("key", "host_key"):
        do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    made: list[Machine] = []
    try:
        for number in range(count):
            # One after the other, so that this one is removed if the next one fails.
            made.append(Machine(folder, record, number, disk))  # noqa: PERF401
        for machine in made:
            machine.wait()
        yield made
    finally:
        for machine in made:
            machine.remove()
        remove_record(record)
        os.close(holds)
