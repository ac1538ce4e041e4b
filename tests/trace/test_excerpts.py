"""Three projects from `init` to the gate: excerpts in the manner of h11, httparse and h2.

They were written for this purpose; no line is the libraries'. `excerpts` has each as it was before
anyone traced it: a specification, code and tests of the library's kind. `marks.toml` has what was
done to it since, one entry for each changed place: marks and claims first, then the test that the
first proof finds missing. The snapshots are what `vespiary trace` said of it then and afterwards.
`frames` is a workspace whose tests are in another package; one of them passes for another reason
than the one that it claims.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)

EXCERPTS = Path(__file__).parent / "excerpts"
CHECKOUT = EXCERPTS.parents[2]
Note = Callable[[str, object], None]


@dataclass
class Excerpt:
    """A copy of an excerpt, and what was recorded of it.

    Attributes:
        specification: The name of its text.
        gap: The requirement of which a test is missing.
        requirements: How many it has.
        edits: How many places the marks and claims change.
    """

    name: str
    specification: str
    gap: str
    requirements: int
    edits: int
    folder: Path = Path()

    def recorded(self, name: str) -> str:
        return (EXCERPTS / self.name / name).read_text()

    def edit(self, kind: str) -> int:
        """Make the recorded edits of a kind; how many there are."""
        edits = tomllib.loads(self.recorded("marks.toml"))[kind]
        for one in edits:
            path = self.folder / one["file"]
            text = path.read_text()
            assert text.count(one["old"]) == 1, one
            new = one["new"].replace("CRATES", str(CHECKOUT / "crates"))
            path.write_text(text.replace(one["old"], new))
        return len(edits)

    def trace(self, *arguments: str, status: int = 0) -> str:
        target = os.environ.get("CARGO_TARGET_DIR", str(CHECKOUT / "target"))
        environment = {
            **os.environ,
            "CARGO_NET_OFFLINE": "true",
            "CARGO_TARGET_DIR": f"{target}/toy",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "VESPIARY_TRACE": "",
        }
        done = subprocess.run(
            [sys.executable, "-m", "vespiary", "trace", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(
    params=[
        Excerpt("reader", "messages", "messages/4/4", requirements=14, edits=27),
        Excerpt("parser", "heads", "heads/5/1", requirements=11, edits=26),
        Excerpt("frames", "frames", "frames/4/1", requirements=11, edits=28),
    ],
    ids=lambda excerpt: excerpt.name,
)
def excerpt(request: pytest.FixtureRequest, tmp_path: Path) -> Excerpt:
    excerpt: Excerpt = request.param
    shutil.copytree(EXCERPTS / excerpt.name, tmp_path, dirs_exist_ok=True)
    excerpt.folder = tmp_path
    return excerpt


def test_a_project_gets_from_init_to_its_gate(
    excerpt: Excerpt, record_testsuite_property: Note
) -> None:
    excerpt.trace("init")
    found = excerpt.trace(
        "extract", excerpt.specification, "--text", f"{excerpt.specification}.txt"
    )
    assert f"{excerpt.requirements} requirements: 0 kept, {excerpt.requirements} new" in found
    assert excerpt.edit("edit") == excerpt.edits
    excerpt.trace("scan", "--strict")

    began = time.monotonic()
    excerpt.trace("prove", status=1)
    seconds = time.monotonic() - began
    for name, figure in (
        ("edits", excerpt.edits),
        ("seconds_per_requirement", seconds / excerpt.requirements),
    ):
        record_testsuite_property(f"trace.{excerpt.name}.{name}", round(figure, 2))

    excerpt.trace("snapshot")
    snapshot = excerpt.folder / "requirements" / "snapshot.txt"
    assert snapshot.read_text() == excerpt.recorded("found.txt")
    refused = excerpt.trace("gate", status=1)
    assert "1 requirement does not pass its gate" in refused
    assert f"{excerpt.gap} MUST" in refused
    excerpt.trace("gate", "--no-worse-than", str(snapshot), status=1)

    excerpt.edit("repair")
    excerpt.trace("prove")
    assert excerpt.trace("gate") == "every requirement passes its gate\n"
    excerpt.trace("snapshot")
    assert snapshot.read_text() == excerpt.recorded("repaired.txt")
    report = json.loads(excerpt.trace("report", "--json", "-"))
    hows = {code["how"] for item in report["requirements"] for code in item["code"]}
    assert hows <= {"assertion", "exception", "broken"}
