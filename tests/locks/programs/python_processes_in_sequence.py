# expect: nothing
"""Processes that run one after the other take the locks in different orders."""

import multiprocessing
import sys
from multiprocessing.synchronize import Lock
from typing import Any


def take_both(first: Lock, second: Lock) -> None:
    with first, second:
        pass


if __name__ == "__main__":
    context: Any = multiprocessing.get_context(sys.argv[1] if len(sys.argv) > 1 else "fork")
    a, b = context.Lock(), context.Lock()
    take_both(a, b)
    for pair in ((b, a), (a, b)):
        child = context.Process(target=take_both, args=pair)
        child.start()
        child.join()
    take_both(b, a)
