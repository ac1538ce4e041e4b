"""What we set out to reach, so that every run says where we stand."""

from dataclasses import dataclass

from benches.summary import Spread, Summary

WS = "ws/vespiary, callback, uring"
TCP = "tcp/vespiary, callback, uring"
UDP = "udp/vespiary, on_datagram, uring"
PICOWS = "ws/picows on uvloop"


@dataclass(frozen=True)
class Target:
    """A bound on a figure, or on its ratio to another server's figure.

    Attributes:
        text: The target in words.
        server: Whose figure.
        base: To whose it is taken; empty for the figure itself.
        scenario: In which scenario.
        figure: Which field of the measurement.
        most: What is still good.
        strict: Whether the bound itself is already too much.
    """

    text: str
    server: str
    base: str
    scenario: str
    figure: str
    most: float
    strict: bool = False

    def measured(self, summary: Summary) -> Spread | None:
        """The figure or the ratio; None if either side was not measured."""
        if not self.base:
            return summary.spread(self.server, self.scenario, self.figure)
        return summary.ratio(self.server, self.base, self.scenario, self.figure)

    def is_met(self, value: float) -> bool:
        """Whether a value is within the bound."""
        return value < self.most if self.strict else value <= self.most


def _below(server: str, base: str, scenarios: str) -> list[Target]:
    name = base.partition("/")[2]
    return [
        Target(f"{scenario}: CPU below {name}", server, base, scenario, "cpu_us", 1.0, True)
        for scenario in scenarios.split()
    ]


def _cpu(server: str, base: str, bounds: dict[str, float], what: str) -> list[Target]:
    return [
        Target(f"{scenario}: CPU to {what}", server, base, scenario, "cpu_us", most)
        for scenario, most in bounds.items()
    ]


TARGETS = (
    *_cpu(WS, PICOWS, {"S1": 0.85, "S2": 0.08, "S4": 0.80, "S5": 0.70}, "picows"),
    *_below(WS, "ws/Bun", "S1 S2 S3 S4 S5"),
    *_below(WS, "ws/Boost.Beast", "S1 S2 S3 S4 S5"),
    *_cpu(TCP, "tcp/uvloop Protocol", {"S1": 0.90, "S2": 0.90}, "uvloop's Protocol"),
    *_cpu(UDP, "udp/uvloop DatagramProtocol", {"D1": 0.50}, "uvloop's DatagramProtocol"),
    *_cpu(UDP, "udp/Go", {"D1": 0.80}, "Go"),
    *_cpu("ws/vespiary, coroutine, uring", WS, {"S1": 1.3, "S2": 2.5}, "the callback form"),
    Target(
        "S3: median latency, spinning, to picows",
        "ws/vespiary, callback, uring, spin",
        PICOWS,
        "S3",
        "p50_us",
        0.5,
    ),
    Target("idle: bytes per connection, Handler", WS, "", "idle", "resident_bytes", 800),
    Target(
        "idle: bytes per connection, coroutine",
        "ws/vespiary, coroutine, uring",
        "",
        "idle",
        "resident_bytes",
        2048,
    ),
    Target("idle: time to accept 10,000, to picows", WS, PICOWS, "idle", "accept_seconds", 0.5),
)
