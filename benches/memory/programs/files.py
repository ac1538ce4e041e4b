"""Writes and reads a file of 600 MiB, and maps it: page cache, far beyond the limit."""

import mmap
import os
import tempfile
from pathlib import Path

from counted import Counter

counter = Counter()
block = bytearray(1 << 20)
counter.touch(block)
with tempfile.NamedTemporaryFile(dir=os.environ["ON_DISK"]) as file:
    for _ in range(600):
        file.write(block)
    file.flush()
    with Path(file.name).open("rb") as again:
        while again.read(1 << 20):
            pass
        mapped = mmap.mmap(again.fileno(), 0, prot=mmap.PROT_READ)
        sum(mapped[::4096])
