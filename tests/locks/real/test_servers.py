"""Real servers under the detector: no false alarm. `python -m tests.locks.real` has many more."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.locks.real.catalogue import PROGRAMS, Program
from tests.locks.real.session import Session, perform

QUICK = PROGRAMS[:4]
SECONDS = 1.0


@pytest.fixture(scope="module")
def sessions() -> Iterator[dict[str, Future[Session]]]:
    """All of them at once: each waits for a good part of its time."""
    with ThreadPoolExecutor(len(QUICK)) as pool:
        installed = [program for program in QUICK if program.path]
        yield {program.name: pool.submit(perform, program, SECONDS) for program in installed}


@pytest.mark.parametrize("program", QUICK, ids=lambda program: program.name)
def test_a_server_under_load_raises_no_alarm(
    sessions: dict[str, Future[Session]], program: Program
) -> None:
    if program.name not in sessions:
        pytest.skip(f"{program.executable} is not installed (Debian: {program.package})")
    session = sessions[program.name].result()
    assert session.done > 0
    assert not session.told, session.said
    assert session.status == 0, session.said
    assert session.report["coverage"]["operations"] > 10 * session.report["coverage"]["processes"]
