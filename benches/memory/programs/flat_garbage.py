"""Flat: cycles that the garbage collector takes back every few seconds, a sawtooth."""

import gc
import sys
import time

gc.disable()
seconds = float(sys.argv[1])
began = last = time.monotonic()
while (now := time.monotonic()) - began < seconds:
    for _ in range(20):
        cycle: list[object] = [bytes(2000)]
        cycle.append(cycle)
    if now - last > 2.3:
        gc.collect()
        last = now
    time.sleep(0.002)
