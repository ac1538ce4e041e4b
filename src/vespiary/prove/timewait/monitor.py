"""Looks at one or more network namespaces at an interval, and reports each moment."""

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from vespiary.errors import VespiaryError
from vespiary.prove.timewait.alarm import Condition, reached
from vespiary.prove.timewait.build import Moment, build
from vespiary.prove.timewait.diag import DumpError
from vespiary.prove.timewait.events import Close, Unavailable
from vespiary.prove.timewait.listing import listed
from vespiary.prove.timewait.look import Costs, Look, Watch
from vespiary.prove.timewait.namespaces import Namespace
from vespiary.prove.timewait.report import Report
from vespiary.prove.timewait.tracepoint import Tracepoint

__all__ = ["Monitor", "WatchError"]


class WatchError(VespiaryError):
    """The kernel's sockets cannot be watched here."""


@dataclass
class _Closes:
    """Where closes come from: the tracepoint, or nowhere with the reason."""

    tracepoint: Tracepoint | None
    reason: str

    @classmethod
    def opened(cls, method: str) -> Self:
        """Open the tracepoint unless `method` is `polling`.

        Raises:
            WatchError: `method` is `tracepoint`, and it is not allowed.
        """
        if method == "polling":
            return cls(None, "asked for")
        try:
            return cls(Tracepoint(), "the kernel reports each close")
        except Unavailable as error:
            if method == "tracepoint":
                raise WatchError(str(error)) from error
            return cls(None, str(error))


class Monitor:
    """Watches namespaces; use it in a `with` statement.

    Args:
        namespaces: Returns those to watch, at each look again.
        owners: `tracepoint`, `polling`, or `auto`: the first one if it is allowed.
        alarms: Conditions that each report is checked for.
        sockets: Whether a report lists each socket.

    Raises:
        WatchError: What was asked for is not allowed here.
    """

    def __init__(
        self,
        namespaces: Callable[[], Sequence[Namespace]],
        *,
        owners: str = "auto",
        alarms: Sequence[Condition] = (),
        sockets: bool = False,
    ) -> None:
        self._namespaces = namespaces
        self._alarms = alarms
        self._with_sockets = sockets
        self._watches: dict[int, Watch] = {}
        self._closes = _Closes.opened(owners)
        method = "tracepoint" if self._closes.tracepoint else "polling"
        self._moment = Moment(method, self._closes.reason)
        self._processor_began = _processor_seconds()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop watching."""
        for watch in self._watches.values():
            watch.close()
        self._watches = {}
        if self._closes.tracepoint is not None:
            self._closes.tracepoint.close()

    def wait(self, seconds: float) -> None:
        """Wait, and meanwhile take what the tracepoint reports."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._closes.tracepoint is None:
                time.sleep(left)
            else:
                self._closes.tracepoint.wait(left)

    def report(self) -> Report:
        """Look once at every namespace.

        Raises:
            WatchError: The kernel does not answer, or a namespace has gone and none is left.
        """
        moment = self._moment
        moment.costs = Costs()
        moment.unreachable = []
        used = time.thread_time()
        looks = list(self._looks())
        if not looks:
            raise WatchError("there is no network namespace left to watch")
        moment.unreadable = max(watch.unreadable for watch in self._watches.values())
        began = time.perf_counter()
        elapsed = time.monotonic() - moment.began
        moment.processor_share = (_processor_seconds() - self._processor_began) / max(elapsed, 0.1)
        report = build(looks, moment)
        if self._with_sockets:
            report["sockets"] = [row for look in looks for row in listed(look)]
        report["alarms"] = reached(self._alarms, report)
        cost = report["cost_milliseconds"]
        cost["report"] = round((time.perf_counter() - began) * 1000, 2)
        cost["total"] = round(cost["total"] + cost["report"], 2)
        cost["processor"] = round((time.thread_time() - used) * 1000, 2)
        return report

    def _looks(self) -> Iterator[Look]:
        namespaces = {namespace.inode: namespace for namespace in self._namespaces()}
        for inode in self._watches.keys() - namespaces.keys():
            self._watches.pop(inode).close()
        closes: Sequence[Close] = ()
        for index, (inode, namespace) in enumerate(namespaces.items()):
            try:
                if inode not in self._watches:
                    self._watches[inode] = Watch(namespace)
                if index == 0:
                    closes = self._taken()
                yield self._watches[inode].look(closes, self._moment.began)
            except (OSError, DumpError) as error:
                watch = self._watches.pop(inode, None)
                if watch is not None:
                    watch.close()
                self._moment.unreachable.append(f"{namespace.name}: {error}")
                if len(namespaces) == 1:
                    raise WatchError(
                        f"the sockets of {namespace.name} cannot be read: {error}"
                    ) from error

    def _taken(self) -> Sequence[Close]:
        """What the tracepoint has reported since the last look."""
        tracepoint = self._closes.tracepoint
        if tracepoint is None:
            return ()
        began = time.perf_counter()
        closes = tracepoint.take()
        self._moment.lost = tracepoint.lost
        self._moment.costs.events = time.perf_counter() - began
        return closes


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
