"""Twenty processes: one allocates as fast as it can, the others wait, every other in its session.

All count themselves (`counted.py`), so that each is known before the first one allocates.
"""

import os
import time
from pathlib import Path

from counted import Counter

COUNT = 20
for number in range(1, COUNT):
    if os.fork() == 0:
        if number % 2:
            os.setsid()
        Counter()
        time.sleep(1000)
while len(list(Path(os.environ["COUNTED"]).iterdir())) < COUNT - 1:
    time.sleep(0.005)
counter = Counter()
kept = []
while True:
    block = bytearray(1 << 20)
    counter.touch(block)
    kept.append(block)
