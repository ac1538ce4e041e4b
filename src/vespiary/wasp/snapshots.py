"""What a server does at a moment, for the dashboard and `vespiary top`: an object for JSON."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from vespiary._core import __version__
from vespiary.statistics import EndpointStatistics
from vespiary.wasp.host_counters import host_counters

if TYPE_CHECKING:
    from vespiary.wasp.control import Control
    from vespiary.wasp.platform import Platform

__all__ = ["snapshot"]

_COUNTERS = (
    "connections_open",
    "connections_accepted",
    "handshakes_pending",
    "connections_broken",
    "messages_received",
    "messages_sent",
    "messages_dropped",
    "datagrams_received",
    "datagrams_sent",
    "bytes_received",
    "bytes_sent",
    "protocol_errors",
    "handler_errors",
    "write_pauses",
)


async def snapshot(platform: Platform, control: Control) -> dict[str, Any]:
    """Everything that the pages and the terminal show of the present moment."""
    statistics = platform.server.statistics()
    measures = dict(await control.gathered("measures", {}))
    total = EndpointStatistics()
    by_name: dict[str, EndpointStatistics] = {}
    for name, counted in platform.operations.statistics():
        by_name[name] = by_name.get(name, EndpointStatistics()) + counted
        total += counted
    endpoints = [
        _endpoint(platform, name, state, by_name.get(name), measures)
        for name, state in platform.operations.states().items()
    ]
    return {
        "time": time.time(),
        "version": __version__,
        "configuration": str(platform.configuration.path),
        "process": platform.process,
        "running_seconds": statistics.running_seconds,
        "driver": statistics.port.driver,
        "total": _numbers(total),
        "endpoints": endpoints,
        "workers": _workers(platform, measures, total),
        "host": host_counters(),
    }


def _numbers(counted: EndpointStatistics) -> dict[str, Any]:
    numbers = {name: getattr(counted, name) for name in _COUNTERS}
    numbers["refused"] = sum(
        count for reason, count in counted.connections_refused.items() if _is_refusal(reason)
    )
    numbers["requests_answered"] = sum(counted.requests_answered.values())
    numbers["limits_reached"] = sum(counted.limits_reached.values())
    return numbers


def _is_refusal(reason: str) -> bool:
    """Whether it is not the end of a connection after an ordinary HTTP response."""
    status = reason.removeprefix("status_")
    return not status.isdigit() or int(status) >= 400


def _endpoint(
    platform: Platform,
    name: str,
    state: str,
    counted: EndpointStatistics | None,
    measures: dict[int | None, Any],
) -> dict[str, Any]:
    queues = [one["queues"].get(name, (0, 0)) for one in measures.values()]
    planned = platform.configuration.endpoints[name]
    return {
        "name": name,
        "plugin": planned.served_by,
        "urls": [site.url for site in platform.sites[name]] or list(planned.urls),
        "state": state,
        "limits_set": platform.changes.read().bounds.get(name, {}),
        "queued_connections": sum(count for count, _ in queues),
        "queued_bytes": sum(waiting for _, waiting in queues),
        **_numbers(counted or EndpointStatistics()),
    }


def _workers(
    platform: Platform, measures: dict[int | None, Any], total: EndpointStatistics
) -> list[dict[str, Any]]:
    """A row for each worker; without workers one for this process."""
    workers = platform.server.statistics().workers
    if not workers:
        own = {"number": None, "process": platform.process, "processes_started": 1}
        return [own | _numbers(total) | _measured(measures.get(None))]
    totals: dict[int, EndpointStatistics] = {}
    for number, _, counted in platform.operations.worker_statistics():
        totals[number] = totals.get(number, EndpointStatistics()) + counted
    return [
        {
            "number": worker.number,
            "process": worker.process,
            "processes_started": worker.processes_started,
            **_numbers(totals.get(worker.number, EndpointStatistics())),
            **_measured(measures.get(worker.number)),
        }
        for worker in workers
    ]


def _measured(measures: Any) -> dict[str, Any]:
    if measures is None:
        return {"memory_bytes": None, "loop": None}
    return {"memory_bytes": measures["memory_bytes"], "loop": measures["loop"]}
