"""The threads of a server's handlers, where the system gives none for a while."""

import threading

import pytest

from tests.waiting import wait_until
from vespiary._pool import Pool


def refuse(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_calls_run_again_once_threads_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="start new thread"):
                pool.submit(pytest.fail)
    done: list[int] = []
    for number in range(4):
        pool.submit(done.append, number).result(60)
    assert done == [0, 1, 2, 3]
    pool.close()


def test_a_call_waits_for_the_threads_that_there_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool = Pool(3)
    release = threading.Event()

    def wait() -> None:
        release.wait(60)

    first = pool.submit(wait)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        waiting = [pool.submit(lambda: None) for _ in range(2)]
    release.set()
    for future in (first, *waiting):
        future.result(60)
    assert (
        caplog.text.count("Cannot start a thread for handlers, so their calls wait for 1 thread")
        == 1
    )
    # Three calls at once meet here, so each has a thread of its own.
    meeting = threading.Barrier(3)

    def meet() -> None:
        meeting.wait(60)

    for future in [pool.submit(meet) for _ in range(3)]:
        future.result(60)
    assert not meeting.broken
    pool.close()


def idle(pool: Pool) -> int:
    return pool.threads - pool.busy


def run_at_once(pool: Pool, count: int) -> None:
    """Have so many calls run at the same time."""
    meeting = threading.Barrier(count)

    def meet() -> None:
        meeting.wait(60)

    for future in [pool.submit(meet) for _ in range(count)]:
        future.result(60)
    assert not meeting.broken


def test_a_pool_grows_with_the_calls_and_shrinks_when_there_are_none() -> None:
    pool = Pool(5, idle_seconds=0.05)
    assert pool.threads == 0
    run_at_once(pool, 5)
    assert pool.threads == 5
    wait_until(lambda: pool.threads == 0)
    run_at_once(pool, 2)
    assert 1 <= pool.threads <= 2
    pool.close()


def test_the_thread_that_was_idle_for_the_shortest_time_gets_the_next_call() -> None:
    pool = Pool(4, idle_seconds=60)
    run_at_once(pool, 4)
    names: set[str] = set()
    for _ in range(50):
        wait_until(lambda: idle(pool) == 4)
        pool.submit(lambda: names.add(threading.current_thread().name)).result(60)
    assert len(names) == 1
    pool.close()
    wait_until(lambda: pool.threads == 0)


def test_calls_beyond_the_threads_wait_in_their_order() -> None:
    pool = Pool(1)
    release = threading.Event()
    done: list[int] = []
    first = pool.submit(lambda: assert_set(release))
    futures = [pool.submit(done.append, number) for number in range(20)]
    assert (pool.threads, pool.busy) == (1, 1)
    release.set()
    for future in (first, *futures):
        future.result(60)
    assert done == list(range(20))
    pool.close()


def assert_set(event: threading.Event) -> None:
    assert event.wait(60)


def test_a_call_that_comes_while_a_thread_ends_is_run() -> None:
    pool = Pool(1, idle_seconds=0.001)
    for _ in range(300):
        pool.submit(lambda: None).result(60)
        # Now and then the thread ends at this very moment.
        wait_until(lambda: idle(pool) == 1 or pool.threads == 0)
    pool.close()


def test_a_pool_that_is_dropped_ends_its_threads() -> None:
    pool = Pool(3)
    run_at_once(pool, 3)
    shared = pool._shared
    del pool
    wait_until(lambda: shared.threads == 0)
