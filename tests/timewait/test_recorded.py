"""The forecast in a run that was recorded: `python -m benches.timewait` makes the recording."""

import itertools
from pathlib import Path

import pytest

from vespiary.prove.timewait.recording import read_recording
from vespiary.prove.timewait.report import BudgetReport

RESULTS = Path(__file__).resolve().parents[2] / "benches" / "results"
(RECORDING,) = itertools.islice(sorted(RESULTS.glob("*-timewait.jsonl"), reverse=True), 1)


@pytest.fixture(scope="module")
def budgets() -> list[tuple[float, BudgetReport]]:
    """The fullest budget of each report, with the time since the first one."""
    reports = list(read_recording(RECORDING))
    began = reports[0]["time"]
    return [(it["time"] - began, it["budgets"][0]) for it in reports if it["budgets"]]


def cliff(budgets: list[tuple[float, BudgetReport]]) -> float:
    """When one half of the ports was full."""
    full = (at for at, it in budgets if it["connect_half"]["used"] == it["connect_half"]["ports"])
    return next(full)


def test_the_cliff_was_forecast_at_least_30_seconds_before_it_came(
    budgets: list[tuple[float, BudgetReport]],
) -> None:
    warned = next(at for at, it in budgets if it["cliff_seconds"] is not None)
    assert cliff(budgets) - warned >= 30


def test_every_forecast_was_right_within_three_seconds(
    budgets: list[tuple[float, BudgetReport]],
) -> None:
    came = cliff(budgets)
    forecasts = [(at, it["cliff_seconds"]) for at, it in budgets if at < came]
    later = [(at, seconds) for at, seconds in forecasts if at > 5]
    assert len(later) >= 15
    for at, seconds in later:
        assert seconds is not None
        assert at + seconds == pytest.approx(came, abs=3)
