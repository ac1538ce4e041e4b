"""Allocates in processes that leave the session and the parent; each writes its number first.

tree.py FOLDER BYTES: three children, by a plain fork, by setsid and by a double fork, each of which
uses so many bytes in steps; 0 lets them wait.
"""

import os
import sys
import time
from pathlib import Path

folder, count = Path(sys.argv[1]), int(sys.argv[2])


def work() -> None:
    (folder / str(os.getpid())).touch()
    kept = []
    for _ in range(count >> 20):
        kept.append(bytearray(b"x" * (1 << 20)))
        time.sleep(0.005)
    time.sleep(1000)


def child(kind: str) -> None:
    if os.fork():
        return
    if kind != "plain":
        os.setsid()
    if kind == "double" and os.fork():
        os._exit(0)
    work()


for each in ("plain", "session", "double"):
    child(each)
while len(list(folder.iterdir())) < 3:
    time.sleep(0.01)
(folder / "ready").touch()
if count:
    time.sleep(1000)
