"""The reports of several machines as one.

Counts are added. The latency percentiles of messages are those of all messages, from the
histograms. For connects, and for the intervals of the series, only percentiles are known. There the
highest value of the machines is used: the percentile of all of them together is at most as high.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

__all__ = ["merged"]

_ADDED: Final = (
    *("connections", "connected", "refused", "reset", "closed", "unclosed", "sent", "received"),
    *("altered", "lost", "reordered", "duplicated", "unsent", "abandoned", "extra_bytes"),
    *("violations", "failed", "bytes_sent", "bytes_received", "pings_sent", "pongs_received"),
    "problems_omitted",
)
_SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999}
_PROBLEMS_MAX: Final = 20


def merged(told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The reports of machines, by their names, as one report."""
    every = list(told.values())
    histogram: Counter[int] = Counter()
    for each in every:
        histogram.update(dict(map(tuple, each["latency_histogram"])))
    latency = _bounds([each["latency_seconds"] for each in every])
    latency |= {name: _at(share, histogram) for name, share in _SHARES.items()}
    problems = [
        {**problem, "text": f"{name}: {problem['text']}"}
        for name, each in told.items()
        for problem in each["problems"]
    ]
    whole = {name: sum(each[name] for each in every) for name in _ADDED}
    whole["problems_omitted"] += len(problems[_PROBLEMS_MAX:])
    seconds = max(each["seconds"] for each in every)
    drivers = ", ".join(sorted({each["driver"] for each in every}))
    return {
        "clean": all(each["clean"] for each in every),
        "complete": all(each["complete"] for each in every),
        "size": every[0]["size"],
        **whole,
        "paced": _paced([each["paced"] for each in every]),
        "connect_seconds": max(each["connect_seconds"] for each in every),
        "seconds": seconds,
        # The clocks of machines have nothing in common.
        "monotonic_start_seconds": 0.0,
        "monotonic_end_seconds": seconds,
        "messages_per_second": whole["received"] / seconds if seconds else 0.0,
        "client_cpu_seconds": max(each["client_cpu_seconds"] for each in every),
        "connect_latency_seconds": _bounds([each["connect_latency_seconds"] for each in every]),
        "latency_seconds": latency,
        "latency_histogram": sorted(histogram.items()),
        "series": _series([each["series"] for each in every]),
        "problems": problems[:_PROBLEMS_MAX],
        "seed": every[0]["seed"],
        "driver": f"{drivers} on {', '.join(told)}",
    }


def _at(share: float, histogram: Counter[int]) -> float:
    """The latency that a share of all did not exceed."""
    wanted = max(1, math.ceil(share * histogram.total()))
    for nanoseconds, count in sorted(histogram.items()):
        wanted -= count
        if wanted <= 0:
            return nanoseconds / 1e9
    return 0.0


def _bounds(latencies: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Several latencies as one: the mean of all, and percentiles that no one's is above."""
    some = [each for each in latencies if each["count"]]
    count = sum(each["count"] for each in some)
    highest = {
        name: max((each[name] for each in some), default=0.0) for name in (*_SHARES, "maximum")
    }
    return {
        "count": count,
        "minimum": min((each["minimum"] for each in some), default=0.0),
        "mean": sum(each["mean"] * each["count"] for each in some) / count if count else 0.0,
        **highest,
    }


def _paced(every: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    known = [each for each in every if each is not None]
    if not known:
        return None
    added = ("due", "planned_per_second", "reached_per_second")
    return {
        **{name: sum(each[name] for each in known) for name in added},
        "reached": all(each["reached"] for each in known),
    }


def _series(every: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Intervals with the same number, added."""
    points = []
    for row in zip_longest(*every):
        known = [each for each in row if each is not None]
        points.append(
            {
                "start_seconds": min(each["start_seconds"] for each in known),
                "seconds": max(each["seconds"] for each in known),
                **{
                    name: sum(each[name] for each in known)
                    for name in ("sent", "received", "faults")
                },
                "latency_seconds": _bounds([each["latency_seconds"] for each in known]),
            }
        )
    return points
