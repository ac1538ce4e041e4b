"""Flat: bursts of work that take 40 MiB for a moment, at irregular intervals."""

import random
import sys
import time

chance = random.Random(2)
seconds = float(sys.argv[1])
kept = bytearray(20 << 20)
began = time.monotonic()
while time.monotonic() - began < seconds:
    block = bytearray(chance.randrange(5, 40) << 20)
    block[::4096] = b"x" * len(range(0, len(block), 4096))
    del block
    time.sleep(chance.uniform(0.05, 0.6))
