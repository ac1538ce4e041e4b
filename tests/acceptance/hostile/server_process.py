"""Starts the server under attack, and asks it, its process and the kernel how it fares."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Self

from tests.acceptance.hostile.peer import TEXT, Peer, frame

CHECKOUT = Path(__file__).resolve().parents[3]
SECONDS = 50.0

RATIO_MAX = 10.0
P99_MILLISECONDS_MAX = 50.0
"""The witness's 99th percentile may grow to ten times its own without the attack, or to 50 ms: a
server that stands still for an attacker misses that, and a busy machine with two cores does not."""

MEBIBYTE = 1 << 20


class Server:
    """A server process and its endpoints."""

    def __init__(
        self,
        log: Path,
        driver: str,
        descriptors: int | None,
        endpoints: dict[str, dict[str, Any]],
        headroom: int | None = None,
    ) -> None:
        options = {
            "driver": driver,
            "descriptors": descriptors,
            "headroom": headroom,
            "endpoints": endpoints,
        }
        self._log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.acceptance.hostile.server", json.dumps(options)],
                cwd=CHECKOUT,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        try:
            self.urls: dict[str, str] = json.loads(self._output.readline())
            self._control = Peer(self.urls["control"]).upgrade()
        except BaseException:
            self.kill()
            raise AssertionError(f"the server did not start: {self.log()}") from None

    @property
    def _output(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._control.socket.close()
        self.kill()

    def kill(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._output.close()

    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text()

    def connect(self, name: str, **options: Any) -> Peer:
        """Connect to an endpoint."""
        return Peer(self.urls[name], **options)

    def statistics(self, name: str) -> dict[str, Any]:
        """The counters of an endpoint; the control connection is used, and stays open."""
        self._control.send(frame(TEXT, b"statistics"))
        _, told = self._control.read_frame()
        endpoint: dict[str, Any] = json.loads(told)[name]
        return endpoint

    def wait_for(self, name: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the counters of an endpoint are as wanted."""
        end = time.monotonic() + SECONDS
        while not wanted(told := self.statistics(name)):
            assert time.monotonic() < end, f"waited without success; at last: {told}"
            time.sleep(0.02)
        return told

    def wait_for_log(self, pattern: str) -> None:
        """Wait until the log has it."""
        end = time.monotonic() + SECONDS
        while not re.search(pattern, self.log()):
            assert time.monotonic() < end, f"{pattern!r} did not come:\n{self.log()}"
            time.sleep(0.02)

    def wait_idle(self, name: str) -> dict[str, Any]:
        """Wait until an endpoint has no connection any more."""
        return self.wait_for(
            name, lambda told: not told["connections_open"] and not told["handshakes_pending"]
        )

    def terminate(self) -> None:
        """Send SIGTERM, and take leave of the control connection."""
        self.process.send_signal(signal.SIGTERM)
        assert self._control.close_code() == 1001
        self._control.answer_close()
        self._control.socket.close()

    def wait_stopped(self, seconds: float = SECONDS) -> dict[str, Any]:
        """Wait until the process has ended well; the last counters of all endpoints."""
        assert self.process.wait(seconds) == 0, self.log()
        told: dict[str, Any] = json.loads(self._output.readline())
        return told

    @property
    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @property
    def processor_seconds(self) -> float:
        """How much processor time it has used."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self, field: str = "VmRSS") -> int:
        """Its resident memory now, or with VmHWM the most since `steady` began."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found
        return int(found[1]) << 10

    @contextlib.contextmanager
    def many_peers(self, name: str, count: int, **options: Any) -> Iterator[list[Peer]]:
        """So many connections to an endpoint."""
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(self.connect(name, **options)) for _ in range(count)]

    @contextlib.contextmanager
    def steady(self, name: str, growth_max: int) -> Iterator[None]:
        """Assert that, whatever is done meanwhile, its memory grows by no more than so many bytes
        and a well-behaved connection to an endpoint keeps its latency.
        """
        with self._memory_bounded(growth_max), _witness(self.urls[name]):
            yield

    @contextlib.contextmanager
    def _memory_bounded(self, growth_max: int) -> Iterator[None]:
        # proc(5): writing 5 sets the peak back to what is resident now.
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        before = self.resident_bytes()
        yield
        growth = self.resident_bytes("VmHWM") - before
        told = f"memory grew by {growth:,} bytes of {growth_max:,} at most"
        print(told)
        assert growth <= growth_max, told


def percentile_99(taken: list[float]) -> float:
    """The 99th percentile."""
    return sorted(taken)[len(taken) * 99 // 100]


@contextlib.contextmanager
def _witness(url: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-S", "-E", "-m", "tests.acceptance.hostile.witness", url],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "the witness could not begin"
        process.stdin.write("attack\n")
        process.stdin.flush()
        yield
        output, errors = process.communicate("end\n", SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0, f"the witness was disturbed: {errors}"
    alone, beside = map(percentile_99, json.loads(output))
    told = f"99 % of the witness's echoes took {alone:.2f} ms alone, {beside:.2f} ms beside"
    print(told)
    assert beside <= max(RATIO_MAX * alone, P99_MILLISECONDS_MAX), told
