"""What is measured: six shapes of echo traffic, and ten thousand connections that do nothing.

S1 is one request at a time on many connections, where the kernel's share of the cost is largest.
S2 is the same with pipelining, where a server that gathers its output shows it. S3 is the latency
of a single connection. S4 is bulk. S5 is many connections at once. D1 is of datagrams: as much as a
socket's buffer surely holds.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Scenario:
    """Traffic of one measurement.

    Attributes:
        name: How results and the command line call it.
        title: What stands over its column.
        connections: Open at the same time.
        size: Bytes of a message's payload.
        pipeline: Messages in flight on each connection.
        kind: `echo` measures a steady exchange; `datagrams` one for servers of datagrams only;
            `idle` the opening of connections, and the memory that they take while nothing happens.
    """

    name: str
    title: str
    connections: int
    size: int
    pipeline: int
    kind: Literal["echo", "datagrams", "idle"] = "echo"


SCENARIOS = (
    Scenario("S1", "100 connections, 32 B", 100, 32, 1),
    Scenario("S2", "the same, 16 in flight", 100, 32, 16),
    Scenario("S3", "1 connection, 32 B", 1, 32, 1),
    Scenario("S4", "10 connections, 64 KiB", 10, 65536, 1),
    Scenario("S5", "1,000 connections, 1 KiB", 1000, 1024, 1),
    Scenario("D1", "10 connections, 32 B, 8 in flight", 10, 32, 8, "datagrams"),
    Scenario("idle", "10,000 idle connections", 10_000, 32, 1, "idle"),
)

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
ECHO = tuple(scenario for scenario in SCENARIOS if scenario.kind == "echo")
