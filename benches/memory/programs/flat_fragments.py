"""Flat: a heap that fragments, from objects of random sizes that live for random times."""

import random
import sys
import time

chance = random.Random(1)
seconds = float(sys.argv[1])
slots: list[bytes | None] = [None] * 20_000
began = time.monotonic()
while time.monotonic() - began < seconds:
    for _ in range(200):
        slots[chance.randrange(len(slots))] = bytes(int(chance.lognormvariate(6, 1.5)))
    time.sleep(0.002)
