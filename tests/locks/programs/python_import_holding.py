# expect: deadlock
"""A module takes a lock while it is imported; the owner of the lock imports the module."""

import importlib
import sys
import tempfile
import threading
from pathlib import Path

lock = threading.Lock()
is_imported = threading.Event()
is_held = threading.Event()
MODULE = """
import __main__
__main__.is_imported.set()
__main__.is_held.wait()
with __main__.lock:
    pass
"""


def imports() -> None:
    importlib.import_module("takes_a_lock")


def holds_and_imports() -> None:
    is_imported.wait()
    with lock:
        is_held.set()
        importlib.import_module("takes_a_lock")


with tempfile.TemporaryDirectory() as folder:
    Path(folder, "takes_a_lock.py").write_text(MODULE)
    sys.path.insert(0, folder)
    threads = [threading.Thread(target=body) for body in (imports, holds_and_imports)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
