"""The interleaved run: every repeat measures every server once, in a new random order.

Machines drift: other work, heat, a neighbour on the same host. Figures are therefore compared only
within a repeat and a scenario, where both were measured some seconds apart.
"""

import os
import random
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benches.catalogue import Server
from benches.load_client import LoadError
from benches.measurement import HOLD_SECONDS, LOAD_CORE, WARM_UP_SECONDS, ServerError, measure
from benches.provision import Toolbox, say
from benches.scenarios import Scenario

START_SECONDS = 1.0
IDLE_SECONDS = 3.5


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes:
        servers: Which, those that are missing left out.
        scenarios: Which.
        repeats: How often.
        seconds: Length of each steady exchange.
        seed: Of the random orders.
    """

    servers: Sequence[Server]
    scenarios: Sequence[Scenario]
    repeats: int
    seconds: float
    seed: int

    def takes_part(self, server: Server, scenario: Scenario) -> bool:
        """Whether the server is measured in the scenario; idle connections are WebSocket's."""
        if scenario.kind == "idle" and server.transport != "ws":
            return False
        if scenario.kind == "datagrams" and server.transport != "udp":
            return False
        return not server.scenarios or scenario.name in server.scenarios

    def repeat(self, number: int) -> Iterator[tuple[Server, Scenario]]:
        """The measurements of a repeat, in its order."""
        order = random.Random(f"{self.seed} {number}")
        for scenario in order.sample(list(self.scenarios), len(self.scenarios)):
            servers = [server for server in self.servers if self.takes_part(server, scenario)]
            for server in order.sample(servers, len(servers)):
                yield server, scenario

    def measurements(self) -> int:
        """How many in all."""
        return self.repeats * sum(1 for _ in self.repeat(0))

    def expected_seconds(self) -> float:
        """How long it will take, about."""
        each = START_SECONDS + WARM_UP_SECONDS
        total = 0.0
        for _, scenario in self.repeat(0):
            idle = scenario.kind == "idle"
            total += each + (IDLE_SECONDS + HOLD_SECONDS if idle else self.seconds)
        return total * self.repeats


@dataclass(frozen=True)
class Result:
    """One measurement's outcome: `figures`, or in `error` why there are none."""

    server: str
    scenario: str
    repeat: int
    figures: dict[str, float | int]
    error: str = ""


def _line(result: Result) -> str:
    if result.error:
        return f"FAILED: {result.error}"
    figures = result.figures
    if "resident_bytes" in figures:
        return (
            f"{figures['resident_bytes']:9.0f} B each  {figures['accept_seconds']:7.2f} s  "
            f"{figures['accept_cpu_us']:7.1f} us to open"
        )
    return (
        f"{figures['cpu_us']:9.3f} us  {figures['throughput']:10,.0f}/s  "
        f"p50 {figures['p50_us']:8.1f}  p99 {figures['p99_us']:8.1f} us"
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def perform(plan: Plan, toolbox: Toolbox) -> list[Result]:
    """Do all measurements, telling each as it is done.

    A server that fails is reported and measured again in the next repeat; it ends nothing.
    """
    os.sched_setaffinity(0, {LOAD_CORE})
    total = plan.measurements()
    say(
        f"==> {total} measurements: {plan.repeats} repeats, random order (seed {plan.seed}); "
        f"about {_clock(plan.expected_seconds())} minutes"
    )
    begin = time.monotonic()
    results: list[Result] = []
    for number in range(plan.repeats):
        for server, scenario in plan.repeat(number):
            result = _one(server, scenario, number, plan.seconds, toolbox)
            results.append(result)
            elapsed = time.monotonic() - begin
            left = elapsed / len(results) * (total - len(results))
            say(
                f"[{len(results):4d}/{total}, {_clock(left)} left] "
                f"{scenario.name:4s} {server.key:36s} {_line(result)}"
            )
    return results


def _one(
    server: Server, scenario: Scenario, number: int, seconds: float, toolbox: Toolbox
) -> Result:
    try:
        figures = measure(server, scenario, toolbox, seconds)
    except (ServerError, LoadError) as error:
        return Result(server.key, scenario.name, number, {}, str(error))
    return Result(server.key, scenario.name, number, figures)


def enough_cores() -> bool:
    """Whether server and load client can have a core each."""
    return len(os.sched_getaffinity(0)) >= 2


def enough_descriptors(scenarios: Sequence[Scenario]) -> bool:
    """Raise the limit on open files as far as the scenarios need; servers inherit it."""
    return open_files(max(scenario.connections for scenario in scenarios) + 1000)


def open_files(needed: int) -> bool:
    """Raise the limit on open files to that many, if it is lower; whether that was possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed <= hard or hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= needed
