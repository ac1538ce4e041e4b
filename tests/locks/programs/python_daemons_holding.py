# expect: nothing
"""The interpreter ends while daemon threads hold locks."""

import threading
import time

started = threading.Barrier(5)


def works() -> None:
    own = threading.RLock()
    started.wait()
    while True:
        with own:
            time.sleep(0.0005)


for _ in range(4):
    threading.Thread(target=works, daemon=True).start()
started.wait()
