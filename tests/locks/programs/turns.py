"""Threads that live at the same time, but do their work one after the other."""

import threading
import time
from collections.abc import Callable


def run(*bodies: Callable[[], object]) -> None:
    """Run each body on a thread of its own; the turn is not a lock, so nothing orders them."""
    together = threading.Barrier(len(bodies))
    turn = [0]

    def job(body: Callable[[], object], number: int) -> None:
        together.wait()
        while turn[0] != number:
            time.sleep(0.001)
        body()
        turn[0] += 1

    threads = [
        threading.Thread(target=job, args=(body, number)) for number, body in enumerate(bodies)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
