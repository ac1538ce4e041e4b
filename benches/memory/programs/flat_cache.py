"""Flat: a cache that grows to 60 MiB in a third of the time and is full then."""

import sys
import time

seconds = float(sys.argv[1])
cache: dict[int, bytes] = {}
began = time.monotonic()
number = 0
while (now := time.monotonic() - began) < seconds:
    while number < now * 9000 / seconds * 20:
        number += 1
        cache[number % 60_000] = bytes(1000)
    time.sleep(0.005)
