"""What the programs of `benches.locks.steady` share: threads that work in two rounds, in step."""

import threading
import time
from collections.abc import Callable, Iterator

THREADS = 4


def processor_time(requests: int, connect: Callable[[], Iterator[Callable[[int], None]]]) -> float:
    """Return the CPU time of a request, in nanoseconds, in the second of two equal rounds.

    Args:
        requests: How many each thread makes in a round.
        connect: A generator function, called in each thread: it yields what makes a request, which
            is given its number, and cleans up afterwards.
    """
    together = threading.Barrier(THREADS + 1)

    def work() -> None:
        for request in connect():
            for _ in range(2):
                together.wait()
                for number in range(requests):
                    request(number)
                together.wait()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    together.wait()
    together.wait()
    began = time.process_time_ns()
    together.wait()
    together.wait()
    used = time.process_time_ns() - began
    for thread in threads:
        thread.join()
    return used / (THREADS * requests)
