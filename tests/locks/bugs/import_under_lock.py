# source: https://github.com/h5py/h5py/issues/859
# hang: deadlock, repaired: nothing
"""A property imports a module under the library's lock, which the module also takes."""

import importlib
import sys
import tempfile
from pathlib import Path
from threading import Event, Lock

from forms import repaired, run_at_once

phil = Lock()
is_imported, is_held = Event(), Event()
MODULE = """
import __main__
__main__.is_imported.set()
__main__.is_held.wait()
with __main__.phil:
    pass
"""


def imports() -> None:
    importlib.import_module("takes_phil")


def attrs() -> None:
    is_imported.wait()
    if repaired:
        is_held.set()
        importlib.import_module("takes_phil")
    with phil:
        is_held.set()
        importlib.import_module("takes_phil")


with tempfile.TemporaryDirectory() as folder:
    Path(folder, "takes_phil.py").write_text(MODULE)
    sys.path.insert(0, folder)
    run_at_once(imports, attrs)
