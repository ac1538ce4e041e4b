"""Leaks: leak.py SECONDS RATE BYTES keeps so many bytes for each message, and reports its work."""

import sys
import time

from vespiary.prove.memory import report_work

seconds, rate, count = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
kept = []
done = 0
began = time.monotonic()
while (now := time.monotonic() - began) < seconds:
    due = int(now * rate)
    for _ in range(due - done):
        # An object of bytes has 33 bytes more than its content, and a list 8 for each item.
        message = bytes(max(0, count - 41))
        if count:
            kept.append(message)
    report_work(due - done)
    done = due
    time.sleep(0.002)
