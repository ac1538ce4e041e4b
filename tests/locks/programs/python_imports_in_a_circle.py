# expect: nothing
"""Two threads import modules that import each other, which the interpreter resolves."""

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
    for number in range(20):
        for one, other in (("here", "there"), ("there", "here")):
            text = f"import time; time.sleep(0.002); import {other}_{number}"
            Path(folder, f"{one}_{number}.py").write_text(text)
    sys.path.insert(0, folder)
    for number in range(20):
        names = [f"{name}_{number}" for name in ("here", "there")]
        threads = [threading.Thread(target=imports, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
