"""A project in a folder, with catalogues, sources and evidence, for the tests of reports."""

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from vespiary.cli.main import main
from vespiary.prove.trace.evidence import sources_of
from vespiary.prove.trace.proving.record import Source
from vespiary.prove.trace.scan_python import scan_python
from vespiary.prove.trace.scan_rust import scan_rust

SETTINGS = """\
evidence = "evidence.json"
snapshot = "snapshot.txt"
[sources]
rust = ["*.rs"]
python = ["outside/*.py"]
[outside]
tests = ["outside/*"]
results = ["results.*"]
confirmations = "confirmations.toml"
[[gate]]
specification = "nest"
levels = ["MUST"]
roles = ["client"]
status = "proven"
"""

CATALOGUE = "\n".join(
    f'[[requirement]]\nid = "nest/1/{number}"\nlevel = "{level}"\nrole = ["{role}"]\n{more}\n'
    for number, level, role, more in (
        (1, "MUST", "client", 'says = "Knock <twice>."\nwhy = "Fear"\nsource = "https://x.y/z"'),
        (2, "MUST", "server", "items = 2"),
        (3, "SHOULD", "client", 'excluded = "Wasps cannot."'),
        (4, "MAY", "user", 'same_as = "nest/1/1"'),
    )
)

CATALOGUE += """
[[erratum]]
number = 7
status = "verified"
requirement = "nest/1/2"
note = "Once is enough."
"""

SOURCE = """\
fn knock() -> bool { requires!("nest/1/1" => x) }
fn answer() -> bool { requires!("nest/1/2" => x) && requires!("nest/1/1", "nest/1/2" => y) }
fn test_knock() { claims!("nest/1/1"); }
fn test_answer() { claims!("nest/1/2"); }
"""


def _test(name: str, claim: str, sites: list[str]) -> dict[str, Any]:
    return {
        "id": name, "kind": "rust", "outcome": "passed", "seconds": 0.1, "claims": [claim],
        "reached": sites, "acted": sites, "claimant": name.partition("[")[0],
    }  # fmt: skip


EVIDENCE: dict[str, Any] = {
    "version": 4,
    "marks": [
        {"site": "a.rs:1", "ids": ["nest/1/1"], "file": "a.rs", "line": 1},
        {"site": "a.rs:2", "ids": ["nest/1/2"], "file": "a.rs", "line": 2},
        {"site": "a.rs:2", "ids": ["nest/1/1", "nest/1/2"], "file": "a.rs", "line": 2},
    ],
    "tests": [
        _test("nest::test_knock", "nest/1/1", ["a.rs:1", "a.rs:2"]),
        _test("nest::test_answer[on_epoll]", "nest/1/2", ["a.rs:2"]),
        _test("nest::test_answer[on_uring]", "nest/1/2", ["a.rs:2"]),
    ],
    "proofs": [
        {"site": "a.rs:1", "id": "nest/1/1", "verdict": "killed", "tests": ["nest::test_knock"]},
        {"site": "a.rs:2", "id": "nest/1/2", "verdict": "killed",
         "tests": ["nest::test_answer[on_uring]"]},
        {"site": "a.rs:2", "id": "nest/1/1", "verdict": "killed", "tests": ["nest::test_knock"]},
        {"site": "a.rs:2", "id": "nest/1/2", "verdict": "killed",
         "tests": ["nest::test_answer[on_epoll]"]},
    ],
    "claims": [
        {"claimant": "nest::test_knock", "id": "nest/1/1", "verdict": "killed", "tests": []},
        {"claimant": "nest::test_answer", "id": "nest/1/2", "verdict": "killed", "tests": []},
    ],
    "unstable": [],
    "silent": [],
    "constant": [],
    "warnings": [],
}  # fmt: skip


class Folder:
    """A project in a folder of its own, with evidence that can be changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.evidence = copy.deepcopy(EVIDENCE)
        self.proven_sources: list[Source] = []
        (root / "requirements").mkdir()
        (root / "requirements" / "nest.toml").write_text(CATALOGUE)
        (root / "trace.toml").write_text(SETTINGS)
        (root / "a.rs").write_text(SOURCE)
        (root / "outside").mkdir()
        (root / "outside" / "nothing.py").write_text("")
        (root / "confirmations.toml").write_text(
            '[[confirmation]]\nsuite = "hive"\ncases = ["3.*"]\nids = ["nest/1/1"]\n'
        )

    def run(self, verb: str, *arguments: str) -> Result:
        self.write_evidence()
        config = str(self.root / "trace.toml")
        return CliRunner().invoke(main, ["trace", verb, "--config", config, *arguments])

    def write_evidence(self) -> None:
        """Write the evidence, as if it were of the sources as they are now."""
        rows = [asdict(source) for source in self.proven_sources or self._sources()]
        evidence = {"sources": rows, **self.evidence}
        (self.root / "evidence.json").write_text(json.dumps(evidence))

    def prove_sources(self) -> None:
        """Let the evidence be of the sources as they are now, whatever happens to them."""
        self.proven_sources = self._sources()

    def _sources(self) -> list[Source]:
        marks = []
        for file in sorted(self.root.glob("*.rs")):
            marks += scan_rust(file.read_text(), file.name).marks
        for file in self.root.glob("outside/*.py"):
            marks += scan_python(file.read_text(), file.relative_to(self.root).as_posix()).marks
        return sources_of(marks)

    def report(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.run("report", "--json", "-").output)
        return data

    def statuses(self) -> list[str]:
        return [item["status"] for item in self.report()["requirements"]]

    def confirm(self, passed: list[str], failed: list[str] | None = None) -> None:
        results = {"suite": "hive", "passed": passed, "failed": failed or []}
        (self.root / "results.json").write_text(json.dumps(results))

    def errors(self) -> str:
        return "\n".join(f"{p['where']}: {p['words']}" for p in self.report()["problems"])

    def proof(self, place: int) -> dict[str, Any]:
        found: dict[str, Any] = self.evidence["proofs"][place]
        return found

    def test(self, place: int) -> dict[str, Any]:
        found: dict[str, Any] = self.evidence["tests"][place]
        return found
