"""Run cells side by side, on this machine or on hosts; those of a lost host go elsewhere."""

from __future__ import annotations

import select
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from vespiary.prove.acceptance.outcome import Result
from vespiary.prove.acceptance.plan import Plan
from vespiary.prove.acceptance.sites import Site

__all__ = ["Lost", "run_plans"]

_POLL_MILLISECONDS = 50


@dataclass(frozen=True)
class Lost:
    """A host that cannot be used any more.

    Attributes:
        name: The host.
        why: What happened.
        moved: The cells that ran there, and go elsewhere.
    """

    name: str
    why: str
    moved: list[Plan]


def run_plans(plans: Sequence[Plan], sites: Sequence[Site]) -> Generator[Result | Plan | Lost]:
    """Run cells; yields each plan when it starts, each result, and each host that is lost.

    When the generator is closed, what runs is ended.
    """
    schedule = _Schedule(plans, sites)
    try:
        while not schedule.is_over:
            yield from schedule.lost()
            yield from schedule.started()
            yield from schedule.ended()
    finally:
        for site in sites:
            site.close()


class _Schedule:
    """What waits, what runs, and where."""

    def __init__(self, plans: Sequence[Plan], sites: Sequence[Site]) -> None:
        self._waiting = list(plans)
        self._sites = list(sites)
        self._notes: dict[str, list[str]] = {}

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return not self._waiting and not any(site.running() for site in self._sites)

    def lost(self) -> Generator[Lost | Result]:
        """Hosts that were lost; without any that is left, what waits cannot be run."""
        for site in [each for each in self._sites if each.lost]:
            self._sites.remove(site)
            moved = list(site.running())
            for plan in moved:
                note = f"begun on {site.name}, which was lost: {site.lost}"
                self._notes.setdefault(plan.cell.id, []).append(note)
            self._waiting[:0] = moved
            site.close()
            yield Lost(site.name, site.lost, moved)
        if not self._sites:
            for plan in self._waiting:
                result = plan.result()
                result.add("host", "no remaining host can run it")
                yield self._noted(result)
            self._waiting.clear()

    def started(self) -> Generator[Plan]:
        """Start what there is room for."""
        for plan in list(self._waiting):
            names = {site.name for site in self._sites}
            wanted = plan.cell.host if plan.cell.host in names else None
            for site in self._sites:
                if wanted in (None, site.name) and site.has_room(plan):
                    self._waiting.remove(plan)
                    site.start(plan)
                    yield plan
                    break

    def ended(self) -> Generator[Result]:
        """Wait a moment, or until something has happened; the results that are there."""
        poll = select.poll()
        for site in self._sites:
            for descriptor in site.descriptors():
                poll.register(descriptor, select.POLLIN)
        poll.poll(_POLL_MILLISECONDS)
        for site in self._sites:
            for ended in site.step():
                yield self._noted(ended.result)

    def _noted(self, result: Result) -> Result:
        result.notes += self._notes.get(result.id, [])
        return result
