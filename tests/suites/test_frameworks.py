"""A sample of `python -m tests.suites starlette`."""

import pytest

from .frameworks import FRAMEWORKS, Outcome, Reasons, compare, run
from .runs import DRIVERS

SAMPLE = ("test_endpoints.py", "test_websockets.py")


@pytest.fixture(scope="module")
def stock() -> dict[str, Outcome]:
    """The outcomes with Starlette's own client."""
    return run("starlette", "stock", chosen=SAMPLE)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("driver", DRIVERS)
def test_starlettes_own_tests_pass_with_a_live_server(
    driver: str, stock: dict[str, Outcome]
) -> None:
    live = run("starlette", "live", driver, SAMPLE)
    reasons = Reasons("starlette")
    unlisted = {
        test: live[test].text if test in live else "not run"
        for test in compare(stock, live)
        if reasons.of(test) is None
    }
    assert unlisted == {}
    assert sum(it.outcome == "passed" and it.has_asked for it in live.values()) > 40


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_listed_difference_has_a_reason(framework: str) -> None:
    patterns = Reasons(framework).patterns
    assert patterns
    assert all(len(reason) > 20 for reason in patterns.values())
