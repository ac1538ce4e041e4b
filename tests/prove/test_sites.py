"""Where cells run: what the system refuses is the result of a cell, and never the end of a run."""

import errno
import os
from pathlib import Path

import pytest

from tests.prove.conftest import prove
from vespiary.prove.acceptance import sites
from vespiary.prove.acceptance.matrix import Cell
from vespiary.prove.acceptance.plan import plan_of
from vespiary.prove.acceptance.reading import read_suite
from vespiary.prove.acceptance.sites import Here, Resources

SUITE = '[cases.one]\nclients = [{ command = "true" }]\n'


def test_a_cell_that_cannot_be_started_has_a_result_that_says_why(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.write_text(SUITE)
    plan = plan_of(read_suite(suite), suite.parent, Cell("one"), 1, is_isolated=True)

    def refuse(plan: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sites, "Running", refuse)
    here = Here(Resources(1, 1), None)
    here.start(plan)
    assert here.running() == [plan]
    (ended,) = here.step()
    assert ended.result.outcome == "error"
    (finding,) = ended.result.findings
    assert finding.text.startswith("the case could not be started: ")
    assert "No space left on device" in finding.text
    assert not here.running()
    assert not here.step()


@pytest.mark.acceptance
def test_files_that_cannot_be_kept_are_noted_and_do_not_end_the_run(suite: Path) -> None:
    suite.write_text(SUITE)
    run = prove(suite, "--artifacts", str(suite / "files"))
    assert run.code == 0
    note = f"the files of a case could not be kept in {suite}/files: Not a directory"
    assert run.cell("one/plain")["notes"] == [note]
    assert f"note: {note}" in run.output
