"""uvloop's tests, from the sources that PyPI has."""

import importlib.metadata
from pathlib import Path

from .sources import sources


def uvloop_modules(cache: Path) -> tuple[Path, list[str]]:
    """Get the tests of the installed uvloop; the folder they are in, and their modules' names."""
    tests = sources("uvloop", importlib.metadata.version("uvloop"), "tests", cache)
    names = sorted(path.stem for path in tests.glob("test_*.py"))
    # Of uvloop's own sources, and of libuv.
    others = {"test_sourcecode", "test_cython", "test_libuv_api", "test_testbase", "test_fs_event"}
    return tests.parent, [f"tests.{name}" for name in names if name not in others]
