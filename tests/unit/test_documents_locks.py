"""Every program in the documents about locks gets the verdict that stands above it.

``<!-- locks: inversion transfer -->`` above a program in C or Python means: under the name
`transfer` (or `program`) and run by ``vespiary locks``, it has this verdict. A block that follows
with ``<!-- report -->`` above it is of the program's report: each of its lines is there, in this
order. Numbers that differ from run to run do not count.
"""

import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_documents import BLOCK, CHECKOUT, DOCUMENTS

RUNS_AT_ONCE = 4
CODES = {"nothing": 0, "information": 0, "inversion": 120, "deadlock": 121, "misuse": 122}
VARIES = re.compile(r"0x[0-9a-f]+|\(\d+\)|(?<=[A-Z] )[0-9a-f]{16}|\bL\d+")


@dataclass(frozen=True)
class Program:
    """A program in a document, its verdict, and the part of its report that is shown."""

    place: str
    kind: str
    verdict: str
    name: str
    text: str
    report: str = ""


def programs() -> list[Program]:
    found: list[Program] = []
    for path in DOCUMENTS:
        document = path.read_text()
        for block in BLOCK.finditer(document):
            proof = block["proof"] or ""
            place = f"{path.relative_to(CHECKOUT)}:{document.count(chr(10), 0, block.start())}"
            if proof.startswith("locks: "):
                verdict, _, name = proof.removeprefix("locks: ").partition(" ")
                name = name or "program"
                found.append(Program(place, block["kind"], verdict, name, block["text"]))
            elif proof == "report":
                found[-1] = replace(found[-1], report=block["text"])
    return found


PROGRAMS = programs()


def command(program: Program, folder: Path) -> list[str]:
    if program.kind == "python":
        source = folder / f"{program.name}.py"
        source.write_text(program.text)
        return [sys.executable, str(source)]
    source, target = folder / f"{program.name}.c", folder / program.name
    source.write_text(program.text)
    compiler = shutil.which("cc")
    assert compiler, "a C compiler is missing (Debian: apt-get install build-essential)"
    words = ["-g", "-pthread", "-Wall", "-Werror", str(source), "-o", str(target)]
    subprocess.run([compiler, *words], check=True)
    return [str(target)]


def lines(report: str) -> list[str]:
    return [" ".join(VARIES.sub("#", line).split()) for line in report.splitlines() if line.strip()]


def test_the_documents_have_programs_of_each_verdict() -> None:
    assert {program.verdict for program in PROGRAMS} == set(CODES) - {"misuse"}
    assert {program.kind for program in PROGRAMS} == {"c", "python"}
    assert sum(bool(program.report) for program in PROGRAMS) >= 2


@dataclass(frozen=True)
class Result:
    """How a program's run ended: its exit code, what was reported, and the report."""

    status: int
    told: str
    report: dict[str, Any]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """All programs' runs, some at the same time: most of them sleep."""

    def run(program: Program) -> Result:
        folder = tmp_path_factory.mktemp("program")
        report = folder / "report.json"
        tool = [sys.executable, "-m", "vespiary", "locks", "--json", str(report), "--"]
        words = [*tool, *command(program, folder)]
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, timeout=100, check=False
        )
        return Result(done.returncode, done.stderr, json.loads(report.read_text()))

    with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
        found = pool.map(run, PROGRAMS)
        return {program.place: result for program, result in zip(PROGRAMS, found, strict=True)}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.place)
def test_a_program_in_the_documents_gets_the_verdict_above_it(
    program: Program, results: dict[str, Result]
) -> None:
    result = results[program.place]
    assert result.status == CODES[program.verdict], result.told
    assert result.report["coverage"]["operations"] > 0
    kinds = {finding["kind"] for finding in result.report["findings"]}
    if program.verdict != "nothing":
        assert program.verdict in kinds, result.told
    rest = iter(lines(result.told))
    for line in lines(program.report):
        assert line in rest, f"{line!r} is not there, or not in this order, in:\n{result.told}"
