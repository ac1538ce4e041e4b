"""Which tests come out differently on Vespiary's loop, and why: `differences.toml`."""

import fnmatch
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .runs import Outcomes

FILE = Path(__file__).with_name("differences.toml")


@dataclass(frozen=True)
class Difference:
    """A known difference: a pattern of tests' names, where it holds, and its reason."""

    test: str
    reason: str
    versions: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    may_pass: bool = False

    def covers(self, test: str, version: str, driver: str) -> bool:
        """Whether it is about this test, in this interpreter, on this driver."""
        return (
            fnmatch.fnmatchcase(test, self.test)
            and (not self.versions or version in self.versions)
            and (not self.drivers or driver in self.drivers)
        )


def known() -> list[Difference]:
    """The file's differences."""
    with FILE.open("rb") as file:
        entries = tomllib.load(file).get("difference", [])
    return [
        Difference(
            entry["test"],
            entry["reason"],
            tuple(entry.get("versions", ())),
            tuple(entry.get("drivers", ())),
            entry.get("may_pass", False),
        )
        for entry in entries
    ]


def differing(stock: Outcomes, ours: Outcomes) -> list[str]:
    """Tests that the stock loop passes and ours does not."""
    return [
        test
        for test, outcome in stock.items()
        if outcome == "passed" and ours.get(test, "hung or crashed") != "passed"
    ]
