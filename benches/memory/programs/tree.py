"""Four processes that allocate together: by fork, in a session of its own, and by a double fork."""

import os
import time

from counted import Counter


def hog() -> None:
    counter = Counter()
    kept = []
    while True:
        block = bytearray(1 << 20)
        counter.touch(block)
        kept.append(block)
        time.sleep(0.01)


for kind in ("fork", "session", "double"):
    if os.fork() == 0:
        if kind != "fork":
            os.setsid()
        if kind == "double" and os.fork():
            os._exit(0)
        hog()
hog()
