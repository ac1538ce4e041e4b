"""The opening handshake of this project's server, case by case, over raw sockets."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.handshake.exchange import Outcome, Pace, judge_strictly
from tests.conformance.handshake.servers import Running
from tests.conformance.handshake.suite import CASES, outcomes

REQUIREMENTS = Path(__file__).resolve().parents[3] / "requirements"
WHOLE: Pace = ((1 << 20, 0.0),)
PACES: dict[str, Pace] = {
    "whole": WHOLE,
    "in two pieces": ((50, 0.0), (1 << 20, 0.02)),
    # The first two hundred alone: long heads are cut no further.
    "byte by byte": (*[(1, 0.0)] * 200, (1 << 20, 0.0)),
    "trickled": (*[(20, 0.003)] * 30, (1 << 20, 0.0)),
}


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, Running]]:
    """The servers that run, by their driver."""
    running: dict[str, Running] = {}
    yield running
    for server in running.values():
        server.__exit__(None, None, None)


Found = dict[str, Outcome | Exception]


@pytest.fixture(scope="session")
def found(servers: dict[str, Running]) -> dict[tuple[str, str], Found]:
    """What came back, by driver and pace: all cases are said at once, when the first is asked."""

    class Lazy(dict[tuple[str, str], Found]):
        def __missing__(self, key: tuple[str, str]) -> Found:
            driver, pace = key
            if driver not in servers:
                servers[driver] = Running("ours", driver).__enter__()
            self[key] = outcomes(CASES.values(), servers[driver].address, PACES[pace])
            return self[key]

    return Lazy()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("pace", PACES)
def test_the_server_does_what_the_specifications_ask_for(
    name: str, pace: str, driver: str, found: dict[tuple[str, str], Found]
) -> None:
    outcome = found[driver, pace][name]
    if isinstance(outcome, Exception):
        raise outcome
    assert judge_strictly(CASES[name], outcome) is None, CASES[name].cites


def test_every_requirement_that_a_case_cites_is_in_a_catalogue() -> None:
    known = set()
    for path in REQUIREMENTS.glob("rfc*.toml"):
        known |= {entry["id"] for entry in tomllib.loads(path.read_text())["requirement"]}
    cited = {cite for case in CASES.values() for cite in case.cites if cite.count("/") == 2}
    assert cited
    assert cited <= known


def test_there_are_enough_cases_of_every_sort() -> None:
    assert len(CASES) >= 200
    statuses = {case.answers[-1] for case in CASES.values()}
    assert statuses >= {101, 200, 400, 403, 405, 414, 417, 421, 426, 431, 501, 505}
    assert {case.after for case in CASES.values()} == {"open", "kept", "closed"}
