"""Two marks that guard the same result: a test passes without either, and fails without both.

Each hides the other. If both are of the requirement that the test claims, the requirement is shown
by the two together. If the other is of another requirement, the test shows neither: its input is
refused for two reasons, and it would not notice that one of them is gone. A mark may even be hidden
so well that it is never reached, because another one has returned before it.
"""

from collections.abc import Callable, Sequence

from vespiary.prove.trace.proving.bench import Bench, Seen
from vespiary.prove.trace.proving.run import Ran
from vespiary.prove.trace.proving.trials import Trials

__all__ = ["hidden", "masking"]

_TESTS_MAX = 4
_MARKS_MAX = 40


def masking(
    trials: Trials, bench: Bench, rans: Sequence[Ran], mark: Seen
) -> tuple[Ran, str, tuple[Seen, ...]] | None:
    """What hides a mark that no test misses.

    Returns:
        A test that fails without the mark and others, how it fails, and the others; None if no
        test does.
    """
    for ran in _stable(trials, rans):
        others = _others(trials, bench, ran, mark)
        if others and (how := trials.fails_without(bench, ran, [mark, *others])):
            needed = _fewest(trials, bench, ran, mark, others)
            if not trials.without(bench, ran, needed).failed:
                return ran, how, needed
    return None


def hidden(
    trials: Trials, bench: Bench, rans: Sequence[Ran], is_wanted: Callable[[Seen], bool]
) -> tuple[Ran, Seen] | None:
    """A mark that acts only when others, which act before it, are disabled; and the test."""
    for ran in _stable(trials, rans):
        disabled: list[Seen] = []
        while True:
            run = trials.without(bench, ran, disabled)
            found = next((mark for mark in run.acted if is_wanted(mark)), None)
            if found:
                return ran, found
            more = _harmless(trials, bench, ran, run.acted, disabled)
            if run.failed or not more:
                break
            disabled += more
    return None


def _stable(trials: Trials, rans: Sequence[Ran]) -> list[Ran]:
    return [ran for ran in rans if ran.test.id not in trials.unstable][:_TESTS_MAX]


def _others(trials: Trials, bench: Bench, ran: Ran, mark: Seen) -> list[Seen]:
    """Marks that the test can do without alone; some of them act only when others do not."""
    disabled = [mark]
    acted = (*ran.run.acted, *trials.without(bench, ran, disabled).acted)
    while more := _harmless(trials, bench, ran, acted, disabled):
        disabled += more
        run = trials.without(bench, ran, disabled)
        if run.failed:
            break
        acted = run.acted
    return disabled[1:]


def _harmless(
    trials: Trials, bench: Bench, ran: Ran, acted: Sequence[Seen], known: Sequence[Seen]
) -> list[Seen]:
    new = [mark for mark in dict.fromkeys(acted) if mark not in known][:_MARKS_MAX]
    return [mark for mark in new if not trials.without(bench, ran, [mark]).failed]


def _fewest(
    trials: Trials, bench: Bench, ran: Ran, mark: Seen, others: list[Seen]
) -> tuple[Seen, ...]:
    """Those others without which the test would not fail."""
    needed = list(others)
    for other in others:
        rest = [one for one in needed if one != other]
        if rest and trials.without(bench, ran, [mark, *rest]).failed:
            needed = rest
    return tuple(needed)
