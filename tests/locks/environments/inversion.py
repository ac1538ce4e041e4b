"""Takes two locks in two orders, in functions that are named by the words of the command line."""

import sys
import threading
import time
from collections.abc import Callable

TAKE = """
def {name}(first, second):
    with first:
        with second:
            pass
"""


def invert(name: str) -> None:
    """Two threads, both alive, take the same two locks in different orders."""
    scope: dict[str, Callable[[object, object], None]] = {}
    exec(TAKE.format(name=name), scope)
    take = scope[name]
    one, other = threading.Lock(), threading.Lock()
    is_done, may_end = [False], threading.Event()

    def body() -> None:
        take(one, other)
        # Nothing that hands over: an event would separate the orders.
        is_done[0] = True
        may_end.wait()

    thread = threading.Thread(target=body)
    thread.start()
    while not is_done[0]:
        time.sleep(0.001)
    take(other, one)
    may_end.set()
    thread.join()


if __name__ == "__main__":
    for word in sys.argv[1:]:
        invert(word)
