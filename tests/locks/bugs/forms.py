"""What the programs of this folder in Python share: their form, and threads that meet.

As in `bugs.h`: `order` does one after the other what can deadlock, `hang` at once, and `repaired`
is how it was or could be mended.
"""

import sys
import threading
import time
from collections.abc import Callable
from functools import partial

form = sys.argv[1]
if form not in ("order", "hang", "repaired"):
    sys.exit(f"{form} is not order, hang or repaired")
hangs, repaired = form == "hang", form == "repaired"

_parties = 0
_met: list[None] = []
_turn: list[None] = []


def meet() -> None:
    """In the form that hangs, wait until everybody has its first lock."""
    if hangs:
        _met.append(None)
        while len(_met) < _parties:
            time.sleep(0.0002)


def _job(body: Callable[[], None], number: int) -> None:
    while not hangs and len(_turn) != number:
        time.sleep(0.0002)
    body()
    _turn.append(None)


def run(*bodies: Callable[[], None]) -> None:
    """Run functions in threads that live at the same time; the turn is not a lock."""
    global _parties
    _parties = len(bodies)
    run_at_once(*(partial(_job, body, number) for number, body in enumerate(bodies)))


def run_at_once(*bodies: Callable[[], None]) -> None:
    """Run functions in threads without turns."""
    threads = [threading.Thread(target=body) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
