# source: https://github.com/wandb/wandb/pull/11402
# hang: deadlock, repaired: nothing
"""A finalizer prints while the lock of the captured console is held."""

import gc
import threading

from forms import repaired, run

console_lock = threading.RLock() if repaired else threading.Lock()


class Prints:
    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        with console_lock:
            pass


def captures() -> None:
    Prints()
    with console_lock:
        gc.collect()


gc.disable()
run(captures)
