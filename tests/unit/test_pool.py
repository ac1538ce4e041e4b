"""The threads of a server's handlers, where the system gives none for a while."""

import threading

import pytest

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
