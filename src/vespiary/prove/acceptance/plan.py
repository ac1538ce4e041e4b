"""The input of a case's process: the case, with everything that is known before it runs."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path

from vespiary.prove.acceptance.matrix import Cell
from vespiary.prove.acceptance.outcome import Result
from vespiary.prove.acceptance.suite import Case, Suite
from vespiary.prove.acceptance.tools import Wrapping, wrapping

__all__ = ["Plan", "plan_of"]


@dataclass(frozen=True)
class Plan:
    """A cell to be run.

    Attributes:
        cell: Which.
        case: The case, with the suite's defaults.
        wrapping: The tool.
        environment: Variables of all programs.
        suite_folder: Where the suite file is.
        seed: What decides about everything random.
        timeout: Seconds for the whole cell.
        memory: Bytes for all its programs.
        output: Bytes that all its programs may write to their output.
        is_isolated: Whether it is to have a network of its own, if the machine allows it.
    """

    cell: Cell
    case: Case
    wrapping: Wrapping
    environment: dict[str, str]
    suite_folder: str
    seed: int
    timeout: float
    memory: int
    output: int
    is_isolated: bool = True

    def result(self) -> Result:
        """A result in which nothing stands yet."""
        cell = self.cell
        return Result(
            cell.id,
            cell.case,
            cell.tool,
            cell.driver,
            cell.python,
            cell.workers,
            cell.host,
            seed=self.seed,
        )

    def moved(self, suite_folder: str) -> Plan:
        """The same with the suite's files in another folder."""
        return replace(self, suite_folder=suite_folder)

    def write(self, path: Path) -> None:
        """Write it for the process of the case."""
        path.write_bytes(pickle.dumps(self))

    @staticmethod
    def read(path: Path) -> Plan:
        """Read what `write` has written."""
        plan = pickle.loads(path.read_bytes())
        assert isinstance(plan, Plan)
        return plan


def plan_of(suite: Suite, folder: Path, cell: Cell, run_seed: int, *, is_isolated: bool) -> Plan:
    """The plan of a cell."""
    case = suite.cases[cell.case]
    tool = wrapping(suite, case, cell.tool)
    environment = {**suite.defaults.environment, **case.environment}
    if cell.driver is not None:
        environment["VESPIARY_DRIVER"] = cell.driver
    timeout = (case.timeout or suite.defaults.timeout) * tool.time_factor
    return Plan(
        cell,
        case,
        tool,
        environment,
        str(folder.resolve()),
        cell.seed(run_seed),
        timeout,
        case.memory or suite.defaults.memory,
        case.output or suite.defaults.output,
        is_isolated,
    )
