"""uvloop's tests, from the sources that PyPI has; they are not in its wheels."""

import importlib.metadata
import subprocess
import sys
import tarfile
from pathlib import Path


def uvloop_modules(cache: Path) -> tuple[Path, list[str]]:
    """Get the tests of the installed uvloop; the folder they are in, and their modules' names."""
    version = importlib.metadata.version("uvloop")
    folder = cache / f"uvloop-{version}"
    if not folder.exists():
        _download(version, cache)
    names = sorted(path.stem for path in (folder / "tests").glob("test_*.py"))
    # Of uvloop's own sources, and of libuv.
    others = {"test_sourcecode", "test_cython", "test_libuv_api", "test_testbase", "test_fs_event"}
    return folder, [f"tests.{name}" for name in names if name not in others]


def _download(version: str, cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", "uvloop", "--dest", str(cache), f"uvloop=={version}"]
    subprocess.run(command, check=True)
    # Only its tests: its sources, not built, would hide the installed package.
    with tarfile.open(cache / f"uvloop-{version}.tar.gz") as archive:
        wanted = [
            member
            for member in archive.getmembers()
            if member.name.startswith(f"uvloop-{version}/tests/")
        ]
        archive.extractall(cache, members=wanted, filter="data")
