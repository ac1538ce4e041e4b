# source: https://github.com/python/cpython/pull/94504
# order: nothing
"""A finalizer imports a module during an import in the same thread: import locks are recursive."""

import gc
import importlib
import sys
import tempfile
from pathlib import Path

MODULE = """
import gc
class Resource:
    def __init__(self):
        self.itself = self
    def __del__(self):
        import slow_module
        import fractions
Resource()
gc.collect()
"""

with tempfile.TemporaryDirectory() as folder:
    Path(folder, "slow_module.py").write_text(MODULE)
    sys.path.insert(0, folder)
    importlib.import_module("slow_module")
gc.collect()
