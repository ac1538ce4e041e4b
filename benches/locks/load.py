"""What servers under load lose to `vespiary locks`: memcached, and two Python servers with threads.

The server, and what watches it, have core 0, the load client core 1, as in the other benchmarks.
Each round starts each server twice, bare and watched, in a random order; the loss is taken within a
round. Memory and connections are bounded, and everything is on the loopback.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benches import clocks, load_client
from benches.load_client import Order
from benches.locks.detectors import BARE, VESPIARY
from benches.measurement import (
    END_SECONDS_MAX,
    LOAD_CORE,
    SERVER_CORE,
    ServerError,
    await_ready,
    free_port,
)

PROGRAMS = Path(__file__).parent / "programs"
CONNECTIONS = 32
SIZE_BYTES = 32
WARM_UP_SECONDS = 0.8
MEMCACHED = ("memcached", "-u", "root", "-m", "64", "-t", "4", "-U", "0", "-l", "127.0.0.1", "-p")


@dataclass(frozen=True)
class Subject:
    """A server that is put under load; its port is added to its command."""

    name: str
    title: str
    command: tuple[str, ...]
    announces: bool = True


SUBJECTS = (
    Subject("memcached", "memcached, 4 threads, one `set` in ten", MEMCACHED, announces=False),
    Subject(
        "executor",
        'Vespiary, `executor="threads"`',
        (sys.executable, str(PROGRAMS / "executor_server.py")),
    ),
    Subject(
        "threaded",
        "`socketserver.ThreadingMixIn`, with a lock and a queue",
        (sys.executable, str(PROGRAMS / "threaded_server.py")),
    ),
)


@dataclass(frozen=True)
class Pace:
    """How fast a server was in one round.

    Attributes:
        subject: Its name.
        detector: Bare or watched.
        round: In which round.
        throughput: Requests per second.
        cpu_us: CPU microseconds of the server for each request.
        load_busy: Share of its core that the load client used.
        locks: Locks taken for each request; 0 when bare.
        findings: What was reported, by kind.
    """

    subject: str
    detector: str
    round: int
    throughput: float
    cpu_us: float
    load_busy: float
    locks: float = 0.0
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Burst:
    """What a load client saw; moments are nanoseconds of CLOCK_MONOTONIC.

    Attributes:
        requests: How many were answered between the two moments.
        began: The first.
        ended: The last.
        busy: Share of its core that the client used.
        whole: Requests in all, those that only prepare included.
    """

    requests: int
    began: int
    ended: int
    busy: float
    whole: int


def missing(subject: Subject) -> str:
    """Why a server cannot be measured; empty when it can."""
    if shutil.which(subject.command[0]) is None:
        return f"{subject.command[0]} is not installed (Debian: apt-get install memcached)"
    return ""


def memcached_load(client: Path, port: int, seconds: float) -> Burst:
    """Put memcached under load for some seconds.

    Raises:
        LoadError: An answer was wrong or did not come.
    """
    words = [str(client), str(port), str(CONNECTIONS), str(seconds)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 20, check=False)
    if done.returncode != 0:
        raise load_client.LoadError(done.stderr.strip())
    requests, began, ended, used, whole = map(int, done.stdout.split())
    return Burst(requests, began, ended, used / (ended - began), whole)


def _echo_load(client: Path, port: int, seconds: float) -> Burst:
    order = Order(f"tcp://127.0.0.1:{port}", CONNECTIONS, SIZE_BYTES, 1, seconds)
    report = load_client.run(client, order)
    messages = report.messages
    return Burst(messages, report.opened, report.ended, report.busy, messages)


@contextlib.contextmanager
def running(subject: Subject, prefix: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """A started server: its process and its port. It has ended afterwards."""
    port = free_port()
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            [*prefix, *subject.command, str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
        )
        try:
            await_ready(process, port, subject.announces)
            # What watches it is its parent.
            server = clocks.family(process.pid)[1 if prefix else 0]
            yield server, port
            os.kill(server, signal.SIGTERM)
            process.wait(END_SECONDS_MAX)
        except (OSError, IndexError, subprocess.TimeoutExpired) as error:
            complaints.seek(0)
            told = complaints.read().decode(errors="replace").strip()[-300:]
            raise ServerError(f"{subject.name}: {error}: {told}") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _pace(subject: Subject, watched: bool, number: int, client: Path, seconds: float) -> Pace:
    drive = memcached_load if subject.name == "memcached" else _echo_load
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        *verb, end = VESPIARY.prefix
        prefix = (*verb, "--json", str(report), end) if watched else ()
        with running(subject, prefix) as (server, port):
            warmed = drive(client, port, WARM_UP_SECONDS)
            with clocks.Sampler([server]) as sampler:
                burst = drive(client, port, seconds)
            used = sampler.between(burst.began, burst.ended)
        locks, findings = 0.0, ()
        if watched:
            told = json.loads(report.read_text())
            locks = told["coverage"]["operations"] / (warmed.whole + burst.whole)
            findings = tuple(finding["kind"] for finding in told["findings"])
    return Pace(
        subject=subject.name,
        detector=(VESPIARY if watched else BARE).name,
        round=number,
        throughput=burst.requests / (burst.ended - burst.began) * 1e9,
        cpu_us=used / 1000 / burst.requests,
        load_busy=burst.busy,
        locks=locks,
        findings=findings,
    )


def measure(
    rounds: int, seconds: float, seed: int, load: Path, say: Callable[[str], None]
) -> list[Pace]:
    """Measure all servers that are there, so many rounds.

    Args:
        rounds: How many.
        seconds: Length of each load.
        seed: Of the order.
        load: The project's load client.
        say: Told what is done.

    Raises:
        ServerError: A server did not start or ended early.
        LoadError: An answer was wrong or did not come.
    """
    own = os.sched_getaffinity(0)
    clients = {subject.name: load for subject in SUBJECTS}
    clients["memcached"] = BARE.build(PROGRAMS / "memcached_load.c", "-O2")
    chance = random.Random(seed)
    runs = [(it, watched) for it in SUBJECTS if not missing(it) for watched in (False, True)]
    paces = []
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        for number in range(rounds):
            say(f"==> Servers under load, round {number + 1} of {rounds}")
            chance.shuffle(runs)
            for subject, watched in runs:
                paces.append(_pace(subject, watched, number, clients[subject.name], seconds))
    finally:
        os.sched_setaffinity(0, own)
    return paces


def loss(paces: Sequence[Pace], subject: str) -> list[float]:
    """The share of its throughput that a watched server loses, in each round."""
    return _ratios(paces, subject, lambda it: it.throughput)


def cpu_loss(paces: Sequence[Pace], subject: str) -> list[float]:
    """The share that it would lose where nothing but its own CPU time counts, in each round."""
    return _ratios(paces, subject, lambda it: 1 / it.cpu_us)


def _ratios(paces: Sequence[Pace], subject: str, figure: Callable[[Pace], float]) -> list[float]:
    of = {(it.detector, it.round): figure(it) for it in paces if it.subject == subject}
    return [
        1 - value / of[BARE.name, number]
        for (name, number), value in of.items()
        if name == VESPIARY.name
    ]
