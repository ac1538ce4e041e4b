"""All cases, and all of them said to a server at once."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.conformance.handshake import exchanges, heads, upgrades
from tests.conformance.handshake.case import Case
from tests.conformance.handshake.exchange import Outcome, Pace, exchange, judge
from tests.conformance.handshake.servers import FEATURES, Running

__all__ = ["CASES", "outcomes", "peer_failures"]

CASES: dict[str, Case] = {}
for _case in [*heads.CASES, *exchanges.CASES, *upgrades.CASES]:
    assert _case.name not in CASES, _case.name
    CASES[_case.name] = _case


def outcomes(
    cases: Iterable[Case], address: tuple[str, int], pace: Pace = ((1 << 20, 0.0),)
) -> dict[str, Outcome | Exception]:
    """What a server does in each case, a few at a time."""

    def one(case: Case) -> tuple[str, Outcome | Exception]:
        try:
            return case.name, exchange(case, address, pace)
        except (OSError, AssertionError) as error:
            return case.name, error

    with ThreadPoolExecutor(16) as pool:
        return dict(pool.map(one, cases))


def peer_failures(name: str) -> dict[str, str]:
    """What a peer does that the specifications do not ask for, by case."""
    cases = [case for case in CASES.values() if not case.feature or case.feature in FEATURES[name]]
    with Running(name) as server:
        found = outcomes(cases, server.address)
    failures = {}
    for case in cases:
        outcome = found[case.name]
        fault = str(outcome) if isinstance(outcome, Exception) else judge(case, outcome)
        if fault is not None:
            failures[case.name] = fault
    return failures
