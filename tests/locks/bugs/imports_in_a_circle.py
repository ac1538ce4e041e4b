# source: https://github.com/python/cpython/issues/82276
# order: nothing
"""Threads import modules that import each other. The interpreter detects this and continues."""

import importlib
import sys
import tempfile
import threading
from pathlib import Path

together = threading.Barrier(2)


def imports(name: str) -> None:
    together.wait()
    importlib.import_module(name)


with tempfile.TemporaryDirectory() as folder:
    for one, other in (("here", "there"), ("there", "here")):
        Path(folder, f"{one}.py").write_text(f"import time; time.sleep(0.05); import {other}")
    sys.path.insert(0, folder)
    threads = [threading.Thread(target=imports, args=(name,)) for name in ("here", "there")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
