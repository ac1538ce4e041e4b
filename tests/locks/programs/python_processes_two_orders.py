# expect: inversion
"""Two processes take two locks in different orders; the argument is the start method."""

import multiprocessing
import sys
import time
from multiprocessing.synchronize import Lock
from typing import Any


def take_both(first: Lock, second: Lock, turn: Any, number: int) -> None:
    while turn.value != number:
        time.sleep(0.001)
    with first, second:
        pass
    turn.value += 1


if __name__ == "__main__":
    context: Any = multiprocessing.get_context(sys.argv[1] if len(sys.argv) > 1 else "spawn")
    a, b, turn = context.Lock(), context.RLock(), context.Value("i", 0, lock=False)
    children = [
        context.Process(target=take_both, args=(a, b, turn, 0)),
        context.Process(target=take_both, args=(b, a, turn, 1)),
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
