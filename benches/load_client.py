"""Runs the load client and reads its report."""

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class LoadError(Exception):
    """The load client failed, or an echo was lost or altered."""


@dataclass(frozen=True)
class Order:
    """What the load client shall do.

    Attributes:
        url: Whom to connect to.
        connections: How many.
        size: Bytes of a message.
        pipeline: Messages in flight on each.
        seconds: Length of the exchange; zero for one message on each connection.
        hold_seconds: How long the connections then stay open and idle.
        ca: The authority that is trusted, with TLS.
    """

    url: str
    connections: int
    size: int
    pipeline: int
    seconds: float = 0.0
    hold_seconds: float = 0.0
    ca: Path | None = None

    def words(self) -> list[str]:
        """The command line."""
        extent = f"duration={self.seconds}" if self.seconds else "messages=1"
        return [
            self.url,
            f"connections={self.connections}",
            f"size={self.size}",
            f"pipeline={self.pipeline}",
            extent,
            f"hold={self.hold_seconds}",
            *([f"ca={self.ca}"] if self.ca else []),
            "json=1",
        ]

    @property
    def seconds_max(self) -> float:
        """When it counts as stuck."""
        return 30 + self.connections / 200 + self.seconds + self.hold_seconds


@dataclass(frozen=True)
class Report:
    """What the load client saw. Moments are nanoseconds of CLOCK_MONOTONIC.

    Attributes:
        messages: Echoes that came back whole and unaltered.
        began: When the first connection was begun.
        opened: When the last was open, and the first message was sent.
        ended: When the last echo was whole.
        p50_us: Median time from sending to the whole echo, in microseconds.
        p99_us: The 99th percentile.
        p999_us: The 99.9th.
        busy: Share of a core that the client itself used during the exchange.
    """

    messages: int
    began: int
    opened: int
    ended: int
    p50_us: float
    p99_us: float
    p999_us: float
    busy: float


def run(client: Path, order: Order) -> Report:
    """Run the load client on the cores that the caller is bound to.

    Raises:
        LoadError: It failed, or found something wrong with the echoes.
    """
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(
            [str(client), *order.words()], stdout=subprocess.PIPE, stderr=told, text=True
        )
        try:
            output, _ = process.communicate(timeout=order.seconds_max)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise LoadError(f"the load client did not end in {order.seconds_max:.0f} s") from None
        told.seek(0)
        said = told.read()
    if process.returncode not in (0, 1) or not output.startswith("{"):
        lines = said.strip().splitlines()
        raise LoadError(lines[-1] if lines else f"status {process.returncode}")
    return _parse(output, said)


def _parse(output: str, said: str) -> Report:
    told = json.loads(output)
    if not told["clean"]:
        raise LoadError(_fault(told))
    began = re.search(r"began at (\d+) ns", said)
    if began is None:
        raise LoadError("the load client does not say when it began")
    start = int(began.group(1))
    opened = start + int(told["connect_seconds"] * 1e9)
    latency = told["latency_seconds"]
    return Report(
        messages=told["received"],
        began=start,
        opened=opened,
        ended=opened + int(told["seconds"] * 1e9),
        p50_us=latency["p50"] * 1e6,
        p99_us=latency["p99"] * 1e6,
        p999_us=latency["p99_9"] * 1e6,
        busy=told["client_cpu_seconds"] / told["seconds"],
    )


def _fault(told: dict[str, Any]) -> str:
    faults = (
        "refused", "reset", "closed", "unclosed", "altered", "lost", "reordered", "duplicated",
        "unsent", "extra_bytes", "violations",
    )  # fmt: skip
    counted = ", ".join(f"{told[name]} {name}" for name in faults if told[name])
    first = told["problems"][0]["text"] if told["problems"] else ""
    return f"{counted}: {first}"
