"""Uses what is not seen of an interpreter, and starts what is not watched."""

import importlib
import os
import queue
import subprocess
import sys
import threading
import types
from pathlib import Path

name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
interpreters = importlib.import_module(name)
beside = interpreters.create()
with threading.Lock():
    pass
simple: queue.SimpleQueue[int] = queue.SimpleQueue()
simple.put(1)
assert simple.get(timeout=5) == 1
interpreters.destroy(beside)

# As trio would be, were it here.
sys.modules["trio"] = types.ModuleType("trio")
with threading.Lock():
    pass

static, parent = sys.argv[1:]
for _ in range(2):
    subprocess.run([static], check=True)
subprocess.run([parent, "parent"], check=True)
subprocess.run([sys.executable, "-S", "-c", "pass"], env={}, check=True)
subprocess.run(["true"], check=True)
subprocess.run("no-such-program-at-all 2>/dev/null", shell=True, check=False)
with Path(os.devnull).open("w") as nowhere:
    nowhere.write("buffered")
