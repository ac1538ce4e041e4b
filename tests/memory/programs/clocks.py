"""Twenty processes that write down the time for as long as they run; the first allocates.

clocks.py FILE: the file gets a time per process, in nanoseconds of CLOCK_MONOTONIC. Every other one
leaves the session.
"""

import array
import mmap
import os
import sys
import time
from pathlib import Path

COUNT = 20
BLOCK = b"x" * (1 << 20)

with Path(sys.argv[1]).open("w+b") as file:
    file.truncate(8 * COUNT)
    times = memoryview(mmap.mmap(file.fileno(), 8 * COUNT)).cast("q")
for number in range(1, COUNT):
    if os.fork() == 0:
        if number % 2:
            os.setsid()
        while True:
            times[number] = time.monotonic_ns()
            time.sleep(0.005)
while not all(times[1:]):
    time.sleep(0.001)
kept = array.array("b")
while True:
    kept.frombytes(BLOCK)
    times[0] = time.monotonic_ns()
