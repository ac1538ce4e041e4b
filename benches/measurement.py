"""One measurement: start a server, warm it up, put a load on it, read its clocks, end it.

The server runs on one core and the load client on another, so that neither takes time from the
other; this process stays on the client's core. What counts is the CPU time of the server, all its
processes and threads, between the first message and the last echo: opening the connections and
warming up are outside.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benches import clocks
from benches.catalogue import Server
from benches.load_client import LoadError, Order, run
from benches.provision import CACHE, Toolbox
from benches.scenarios import Scenario

SERVER_CORE = 0
LOAD_CORE = 1
READY_SECONDS_MAX = 20.0
END_SECONDS_MAX = 5.0
WARM_UP_SECONDS = 0.3
HOLD_SECONDS = 1.5


class ServerError(Exception):
    """The server did not start, or did not live through the measurement."""


@dataclass(frozen=True)
class Echo:
    """The figures of an echo scenario.

    Attributes:
        cpu_us: CPU microseconds of the server for each message.
        throughput: Messages per second.
        p50_us: Median latency; then the 99th and the 99.9th percentile.
        messages: How many were echoed.
        server_busy: Share of its core that the server used.
        load_busy: Share of its core that the load client used; near 1 the client is the limit.
        foreign: Share of the server's core that neither idled nor belonged to the server.
    """

    cpu_us: float
    throughput: float
    p50_us: float
    p99_us: float
    p999_us: float
    messages: int
    server_busy: float
    load_busy: float
    foreign: float


@dataclass(frozen=True)
class Idle:
    """The figures of the idle scenario.

    Attributes:
        resident_bytes: Resident memory of the server for each idle connection.
        accept_seconds: Time until all connections were open, handshakes included.
        accept_cpu_us: CPU microseconds of the server for opening one.
    """

    resident_bytes: float
    accept_seconds: float
    accept_cpu_us: float


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_ready(
    process: subprocess.Popen[bytes],
    port: int,
    announces: bool,
    seconds_max: float = READY_SECONDS_MAX,
) -> None:
    """Wait until a server says that it is ready, or until its port answers.

    Raises:
        ServerError: It ended, or the time ran out.
    """
    deadline = time.monotonic() + seconds_max
    heard = bytearray()
    while not (_announced(process, port, heard) if announces else _answers(port)):
        if process.poll() is not None:
            raise ServerError("it ended before it was ready")
        if time.monotonic() > deadline:
            raise ServerError(f"not ready after {seconds_max:.0f} s")
        time.sleep(0.01)


def _announced(process: subprocess.Popen[bytes], port: int, heard: bytearray) -> bool:
    """Whether it has said so in all that was heard of it, which may come in pieces."""
    assert process.stdout is not None
    if select.select([process.stdout], [], [], 0.1)[0]:
        heard += os.read(process.stdout.fileno(), 65536)
    return f"READY {port}\n".encode() in heard


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and everything that it started; it leads a group of its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS_MAX if number == signal.SIGTERM else None)
    if process.stdout is not None:
        process.stdout.close()


@contextlib.contextmanager
def running(server: Server, toolbox: Toolbox) -> Iterator[tuple[int, str]]:
    """A started server: its process id and its URL.

    Raises:
        ServerError: It did not become ready; the last line that it wrote says why.
    """
    port = free_port()
    complaints = CACHE / "server.log"
    complaints.parent.mkdir(parents=True, exist_ok=True)
    with complaints.open("wb") as log:
        process = subprocess.Popen(
            [toolbox.fill(word, port) for word in server.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=toolbox.environment(server),
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
        )
    try:
        try:
            await_ready(process, port, server.announces)
        except ServerError as error:
            raise ServerError(f"{error}{_last_line(complaints)}") from None
        yield process.pid, f"{server.transport}://127.0.0.1:{port}/"
    finally:
        _end(process)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return f": {lines[-1]}" if lines else ""


def _echo(process: int, url: str, scenario: Scenario, load: Path, seconds: float) -> Echo:
    order = Order(url, scenario.connections, scenario.size, scenario.pipeline, seconds)
    warm_up = min(scenario.connections, 100)
    run(load, Order(url, warm_up, scenario.size, scenario.pipeline, WARM_UP_SECONDS))
    with clocks.Sampler(clocks.family(process)) as sampler:
        busy = clocks.core_busy_nanoseconds(SERVER_CORE)
        report = run(load, order)
        busy = clocks.core_busy_nanoseconds(SERVER_CORE) - busy
    span, owned = sampler.whole()
    elapsed = report.ended - report.opened
    used = sampler.between(report.opened, report.ended)
    return Echo(
        cpu_us=used / 1000 / report.messages,
        throughput=report.messages / elapsed * 1e9,
        p50_us=report.p50_us,
        p99_us=report.p99_us,
        p999_us=report.p999_us,
        messages=report.messages,
        server_busy=used / elapsed,
        load_busy=report.busy,
        foreign=max(0.0, (busy - owned) / span),
    )


def _idle(process: int, url: str, scenario: Scenario, load: Path) -> Idle:
    run(load, Order(url, 10, scenario.size, 1))
    time.sleep(0.2)
    processes = clocks.family(process)
    before = clocks.resident_bytes(processes)
    order = Order(url, scenario.connections, scenario.size, 1, hold_seconds=HOLD_SECONDS)
    with clocks.Sampler(processes) as sampler, clocks.MemorySampler(processes) as resident:
        report = run(load, order)
    held = report.ended + int(HOLD_SECONDS * 0.75e9)
    full = [size for moment, size in resident.samples if report.ended < moment <= held]
    if not full:
        raise LoadError("no sample of the memory was taken while the connections idled")
    return Idle(
        resident_bytes=(full[-1] - before) / scenario.connections,
        accept_seconds=(report.opened - report.began) / 1e9,
        accept_cpu_us=sampler.between(report.began, report.opened) / 1000 / scenario.connections,
    )


def measure(
    server: Server, scenario: Scenario, toolbox: Toolbox, seconds: float
) -> dict[str, float | int]:
    """Measure a server in a scenario, in a process of its own.

    Args:
        server: Which.
        scenario: What traffic.
        toolbox: From `provide`.
        seconds: Length of the steady exchange.

    Returns:
        The fields of `Echo` or `Idle`.

    Raises:
        ServerError: The server did not start or ended early.
        LoadError: The load client failed, or an echo was lost or altered.
    """
    with running(server, toolbox) as (process, url):
        try:
            if scenario.kind == "idle":
                return asdict(_idle(process, url, scenario, toolbox.load))
            return asdict(_echo(process, url, scenario, toolbox.load, seconds))
        except (ValueError, OSError) as error:
            raise ServerError(str(error)) from error
