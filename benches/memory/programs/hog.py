"""Allocates without end at a rate: hog.py BYTES_PER_SECOND; 0 is as fast as it goes."""

import sys
import time

from counted import Counter

rate = float(sys.argv[1])
counter = Counter()
kept = []
began = time.monotonic()
STEP = 4 << 20
while True:
    block = bytearray(STEP)
    counter.touch(block)
    kept.append(block)
    if rate:
        ahead = began + len(kept) * STEP / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
