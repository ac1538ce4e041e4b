"""Does units of work at a rate and reports them; some leak for each.

steady.py SECONDS RATE BYTES: BYTES of each unit are kept.
"""

import sys
import time

from vespiary.prove.memory import report_work

seconds, rate, count = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
kept = []
done = 0
began = time.monotonic()
while (now := time.monotonic() - began) < seconds:
    due = int(now * rate)
    if count:
        # An object of bytes has 33 bytes more, and the list 8.
        kept += [bytes(count - 41) for _ in range(due - done)]
    report_work(due - done)
    done = due
    time.sleep(0.002)
