"""Flat: cycles of small objects that the garbage collector takes back every few seconds."""

import gc
import sys
import time

gc.disable()
seconds = float(sys.argv[1])
began = last = time.monotonic()
while (now := time.monotonic()) - began < seconds:
    for number in range(100):
        cycle: list[object] = [str(number), float(number), {"number": number}]
        cycle.append(cycle)
    if now - last > 2.3:
        gc.collect()
        last = now
    time.sleep(0.002)
