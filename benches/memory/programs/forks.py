"""100 MiB that 20 forked children read, and nobody writes to."""

import os
import time

from counted import Counter

block = bytearray(100 << 20)
Counter().touch(block)
children = []
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        sum(block[::4096])
        time.sleep(2)
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
