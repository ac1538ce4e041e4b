"""All of Autobahn's cases against our server and our client.

The default driver gets every case, the other one those of `OTHER_GROUPS`. A compression case sends
20 messages here; VESPIARY_AUTOBAHN_MESSAGES says otherwise, `make conformance` 1,000 as the suite's
own authors wanted it, which takes about 50 times as long.
"""

import faulthandler
import fnmatch
import json
import os
import tomllib
from pathlib import Path

import pytest

from tests.conformance.running import Run, Tell, run_client, run_server
from tests.conformance.suite import HERE, Suite
from tests.conformance.verdicts import (
    CASE_COUNTS,
    RESULTS,
    Verdict,
    by_number,
    group_of,
    keep,
    objections,
    read_exceptions,
)

pytestmark = [pytest.mark.conformance, pytest.mark.slow]

MESSAGES = int(os.environ.get("VESPIARY_AUTOBAHN_MESSAGES", "20"))
SECONDS = 120.0 + MESSAGES * 8.0
OTHER_GROUPS = (1, 2, 3, 4, 5, 6, 7, 10, 12)
"""Groups 9 and 13 are four fifths of the time, and one code on both drivers."""

CONFIRMATIONS = HERE.parents[1] / "requirements" / "confirmations" / "outside.toml"

LONGEST_FIRST = (9, 13, 12)


def in_order(cases: list[str]) -> list[str]:
    """The cases, those first that take long."""
    return sorted(cases, key=lambda case: (group_of(case) not in LONGEST_FIRST, *_backwards(case)))


def _backwards(case: str) -> list[int]:
    return [-part for part in by_number(case)]


@pytest.fixture
def groups(driver: str, uring_refusal: str | None) -> tuple[int, ...]:
    """The groups that the driver gets."""
    default = "epoll" if uring_refusal else "uring"
    return tuple(CASE_COUNTS) if driver == default else OTHER_GROUPS


@pytest.fixture
def run(
    suite: Suite,
    driver: str,
    groups: tuple[int, ...],
    environment: dict[str, str],
    tmp_path: Path,
    tell: Tell,
) -> Run:
    # These tests have a deadline of their own, and show that they go on.
    faulthandler.cancel_dump_traceback_later()
    cases = in_order([case for case in suite.cases() if group_of(case) in groups])
    return Run(suite, driver, cases, MESSAGES, SECONDS, environment, tmp_path, tell)


def all_ok() -> dict[str, Verdict]:
    ok = Verdict("OK", "OK")
    return {
        f"{group}.1.{number}": ok
        for group, count in CASE_COUNTS.items()
        for number in range(1, count + 1)
    }


def judge(side: str, verdicts: dict[str, Verdict], run: Run, groups: tuple[int, ...]) -> list[str]:
    """Leave the verdicts as evidence, and say what is wrong with them."""
    keep(verdicts, side, RESULTS / f"autobahn-{side}-{run.driver}.json")
    return objections(verdicts, read_exceptions(side), groups)


@pytest.mark.timeout(SECONDS + 60)
def test_our_server_passes_every_case(run: Run, groups: tuple[int, ...]) -> None:
    found = judge("server", run_server(run), run, groups)
    assert not found, f"reports are in {run.folder}"


@pytest.mark.timeout(SECONDS + 60)
def test_our_client_passes_every_case(run: Run, groups: tuple[int, ...]) -> None:
    found = judge("client", run_client(run), run, groups)
    assert not found, f"reports are in {run.folder}"


@pytest.mark.parametrize("side", ["server", "client"])
def test_what_confirms_requirements_are_cases_that_there_are(suite: Suite, side: str) -> None:
    cases = [case for case in suite.cases() if group_of(case) in CASE_COUNTS]
    tables = tomllib.loads(CONFIRMATIONS.read_text())["confirmation"]
    patterns = [
        pattern
        for table in tables
        if table["suite"] == f"autobahn {side}"
        for pattern in table["cases"]
    ]
    assert patterns
    assert not [pattern for pattern in patterns if not fnmatch.filter(cases, pattern)]


def test_nothing_is_objected_to_when_every_case_is_ok() -> None:
    assert objections(all_ok(), {}) == []


def test_a_case_that_is_not_ok_is_objected_to() -> None:
    verdicts = all_ok() | {"9.1.6": Verdict("FAILED", "OK")}
    assert objections(verdicts, {}) == ["case 9.1.6: FAILED, closing OK, expected OK"]


def test_a_case_that_ends_badly_is_objected_to() -> None:
    verdicts = all_ok() | {"7.1.1": Verdict("OK", "UNCLEAN")}
    assert objections(verdicts, {}) == ["case 7.1.1: OK, closing UNCLEAN, expected OK"]


def test_a_named_exception_is_accepted() -> None:
    verdicts = all_ok() | {"6.1.1": Verdict("NON-STRICT", "NON-STRICT")}
    assert objections(verdicts, {"6.1.1": ("NON-STRICT", "it fails late")}) == []


def test_an_exception_that_is_now_ok_is_objected_to() -> None:
    found = objections(all_ok(), {"6.1.1": ("NON-STRICT", "it fails late")})
    assert found == ["case 6.1.1: OK, expected NON-STRICT"]


def test_a_case_that_was_not_run_is_objected_to() -> None:
    verdicts = all_ok()
    del verdicts["5.1.20"]
    assert objections(verdicts, {}) == ["group 5: 19 cases were run, not 20"]


def test_a_case_that_was_not_to_be_run_is_objected_to() -> None:
    verdicts = all_ok()
    found = objections(verdicts, {}, [group for group in CASE_COUNTS if group != 10])
    assert found == ["group 10: 1 cases were run, not 0"]


def test_what_is_kept_tells_ok_from_failed_and_leaves_out_the_informational(
    tmp_path: Path,
) -> None:
    informational = Verdict("INFORMATIONAL", "INFORMATIONAL")
    verdicts = {"1.1.1": Verdict("OK", "OK"), "1.1.2": Verdict("OK", "UNCLEAN")}
    keep(verdicts | {"7.1.6": informational}, "server", tmp_path / "kept" / "cases.json")
    assert json.loads((tmp_path / "kept" / "cases.json").read_text()) == {
        "suite": "autobahn server",
        "passed": ["1.1.1"],
        "failed": ["1.1.2"],
    }


def test_every_exception_has_a_reason_and_none_is_a_failure() -> None:
    for side in ("server", "client"):
        for verdict, reason in read_exceptions(side).values():
            assert len(reason) > 20
            assert verdict.split(",")[0] not in ("FAILED", "UNIMPLEMENTED")
