"""The suite's verdicts, and what is objected to in them.

The rule: every case that the suite has is run, and its verdict is OK, strictly, behaviour and
closing both; or the case stands in exceptions.toml with the verdict that it gets and the reason. A
result that is missing is a failure, and so is an exception that is not needed any more.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.suite import AGENT, HERE, log_end

CASE_COUNTS = {1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 9: 54, 10: 1, 12: 90, 13: 126}
"""How many cases each group has in the pinned release."""

EXCEPTIONS = HERE / "exceptions.toml"

RESULTS = HERE.parents[1] / ".cache" / "trace" / "outside"
"""Where the results of suites are kept for `vespiary trace`."""

Exceptions = Mapping[str, tuple[str, str]]
"""For each case that is not strictly OK: the verdict that it gets, and why that is right."""


@dataclass(frozen=True)
class Verdict:
    """What the suite says of a case, and of how the connection was closed at its end."""

    behavior: str
    closing: str

    @property
    def is_ok(self) -> bool:
        """Whether nothing at all is to be said against it."""
        return self.behavior == self.closing == "OK"

    def __str__(self) -> str:
        if self.behavior == self.closing:
            return self.behavior
        return f"{self.behavior}, closing {self.closing}"


def read_exceptions(side: str) -> Exceptions:
    """The committed exceptions of our `server` or `client`."""
    table = tomllib.loads(EXCEPTIONS.read_text())["exception"]
    return {it["case"]: (it["verdict"], it["reason"]) for it in table if side in it["sides"]}


def read_verdicts(folders: Sequence[Path]) -> dict[str, Verdict]:
    """The verdicts in the reports, by the case's number."""
    verdicts = {}
    for folder in folders:
        index = folder / "index.json"
        assert index.exists(), f"no report; the log ends with\n{log_end(folder)}"
        for case, entry in json.loads(index.read_text()).get(AGENT, {}).items():
            verdicts[case] = Verdict(entry["behavior"], entry["behaviorClose"])
    return verdicts


def keep(verdicts: Mapping[str, Verdict], side: str, path: Path) -> None:
    """Leave the cases of our `server` or `client` where `vespiary trace` looks for what confirms.

    A case that is not strictly OK confirms nothing; one that is informational denies nothing.
    """
    passed = [case for case, verdict in verdicts.items() if verdict.is_ok]
    failed = [
        case
        for case, verdict in verdicts.items()
        if not verdict.is_ok and verdict.behavior != "INFORMATIONAL"
    ]
    results = {"suite": f"autobahn {side}", "passed": passed, "failed": failed}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results))


def group_of(case: str) -> int:
    """The group of a case: its number's first part."""
    return int(case.partition(".")[0])


def by_number(case: str) -> list[int]:
    """For sorting: 9.10 comes after 9.9."""
    return [int(part) for part in case.split(".")]


def objections(
    verdicts: Mapping[str, Verdict],
    exceptions: Exceptions,
    groups: Sequence[int] = tuple(CASE_COUNTS),
) -> list[str]:
    """What is wrong: cases that were not run, verdicts not expected, exceptions not needed.

    `groups` are those that were to be run; of the others there is no verdict.
    """
    found = []
    counts = dict.fromkeys(CASE_COUNTS, 0)
    for case in verdicts:
        counts[group_of(case)] = counts.get(group_of(case), 0) + 1
    for group in sorted(counts):
        wanted = CASE_COUNTS.get(group, 0) if group in groups else 0
        if counts[group] != wanted:
            found.append(f"group {group}: {counts[group]} cases were run, not {wanted}")
    excepted = {case for case in exceptions if group_of(case) in groups}
    for case in sorted(verdicts.keys() | excepted, key=by_number):
        verdict = verdicts.get(case)
        expected, _ = exceptions.get(case, ("OK", ""))
        if verdict is None or str(verdict) != expected:
            found.append(f"case {case}: {verdict or 'not run'}, expected {expected}")
    return found
