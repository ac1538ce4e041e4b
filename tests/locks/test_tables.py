"""The library's lock-free tables, filled by many threads at the same moment.

The library cannot be linked into a test program of its own, whose locks it would watch, so it is
tested as it is used: preloaded, with programs whose number of locks and operations is known.
"""

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.locks.conftest import COMPILER
from vespiary.prove.locks.preload import environment
from vespiary.prove.locks.record import records

SOURCE = Path(__file__).parent / "tables" / "same_moment.c"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("tables") / "same_moment"
    subprocess.run([COMPILER, "-O1", "-pthread", str(SOURCE), "-o", str(target)], check=True)
    return target


@pytest.mark.timeout(300)
@given(
    threads=st.integers(2, 8),
    locks=st.integers(1, 1000),
    rounds=st.integers(1, 3),
    stride=st.sampled_from([40, 48, 64, 520, 4096]),
)
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_each_lock_has_one_entry_however_many_threads_meet_it_at_once(
    program: Path, threads: int, locks: int, rounds: int, stride: int
) -> None:
    words = [str(each) for each in (threads, locks, rounds, stride)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variables = environment(folder, None)
        subprocess.run([program, *words], env=variables, check=True, timeout=120)
        (record,) = records(folder)
        try:
            found = [record.lock(number) for number in range(record.lock_count)]
            mutexes = [lock for lock in found if lock.kind == "mutex"]
            alive = [lock.address for lock in mutexes if lock.alive]
            assert len(alive) == len(set(alive)) == locks
            assert record.operations == threads * locks * rounds
            assert not record.lost
            assert all(lock.owner is None for lock in mutexes)
            assert not any(thread.held for thread in record.threads())
            assert [event.what for event in record.events()] == []
        finally:
            record.close()
