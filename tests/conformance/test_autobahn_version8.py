"""Autobahn's client speaks version 8 to our server, by a draft that came a little later.

It expects what RFC 6455 wants. Where HyBi-09 says otherwise, our server does as the draft says, and
the verdict that it gets for that is expected.
"""

from pathlib import Path

import pytest

from tests.conformance.running import Run, Tell, run_server
from tests.conformance.suite import Suite
from tests.conformance.verdicts import group_of

pytestmark = [pytest.mark.conformance, pytest.mark.slow]

GROUPS = (1, 2, 3, 5, 6, 7, 10)
RESERVED_OPCODES = ("4.1.1", "4.2.1")
"""Two of ten: the suite waits a second in each for a refusal that does not come."""

DRAFT_WITH_VERSION_8 = 10
SECONDS = 120.0

OTHERWISE = {
    "4.1.1": "frames with reserved opcodes are ignored (4.2)",
    "4.2.1": "frames with reserved opcodes are ignored (4.2)",
    "7.9.3": "1004 reports a frame that is too large (7.4.1)",
    "7.9.6": "1016 is not defined, and no rule refuses it (7.4.2)",
    "7.9.7": "1100 is not defined, and no rule refuses it (7.4.2)",
    "7.9.8": "2000 is an extension's (7.4.2)",
    "7.9.9": "2999 is an extension's (7.4.2)",
}
"""Cases with another verdict than OK, and what the draft has about them."""


@pytest.fixture
def run(suite: Suite, driver: str, environment: dict[str, str], tmp_path: Path, tell: Tell) -> Run:
    cases = [case for case in suite.cases() if group_of(case) in GROUPS]
    cases += RESERVED_OPCODES
    return Run(
        suite, driver, cases, 1, SECONDS, environment, tmp_path, tell, draft=DRAFT_WITH_VERSION_8
    )


@pytest.mark.timeout(SECONDS + 60)
def test_our_server_passes_in_version_8_every_case_that_the_draft_does_not_decide_otherwise(
    run: Run,
) -> None:
    verdicts = run_server(run)
    assert sorted(verdicts) == sorted(run.cases)
    objected = {
        case: str(verdict)
        for case, verdict in verdicts.items()
        if not verdict.is_ok and verdict.behavior != "INFORMATIONAL"
    }
    # Text that is not UTF-8 is refused all the same, with 1002: the draft has no 1007.
    code_alone = {
        case
        for case, verdict in objected.items()
        if case.startswith("6.") and verdict == "OK, closing WRONG CODE"
    }
    assert len(code_alone) == 75
    assert {case for case in objected if case not in code_alone} == set(OTHERWISE)
