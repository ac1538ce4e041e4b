"""What is sent to a host: Vespiary itself, what its commands need, and the suite with its programs.

Each is an archive that is named by the hash of its content, so that a host which has it already is
not sent it again.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vespiary.errors import ConfigurationError
from vespiary.prove.acceptance.suite import Suite

__all__ = ["Archive", "Cargo", "cargo_of"]

_PACKAGES: Final = ("vespiary", "click", "rich", "pygments", "markdown_it", "mdurl")
"""What `python -m vespiary` imports."""

_IGNORED: Final = ("__pycache__", "*.pyc")
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Archive:
    """Files that are sent together.

    Attributes:
        name: The hash of the content.
        data: A zip file.
    """

    name: str
    data: bytes


@dataclass(frozen=True)
class Cargo:
    """All that is sent.

    Attributes:
        modules: What is put on Python's search path.
        suite: The folder of the suite file with what it names.
    """

    modules: list[Archive]
    suite: Archive

    @property
    def archives(self) -> list[Archive]:
        """All archives."""
        return [*self.modules, self.suite]


def cargo_of(suite: Suite, folder: Path) -> Cargo:
    """Pack what the cases of a suite need on a host.

    Raises:
        ConfigurationError: a folder or a wheel is not there.
    """
    modules = [_packed(_of_package(name)) for name in _PACKAGES]
    for name in suite.ship.wheels:
        wheel = folder / name
        if not wheel.is_file():
            raise ConfigurationError(f"ship.wheels: there is no {wheel}", subject=name)
        data = wheel.read_bytes()
        modules.append(Archive(hashlib.sha256(data).hexdigest(), data))
    return Cargo(modules, _packed(_of_suite(suite, folder)))


def _of_package(name: str) -> Iterator[tuple[str, Path]]:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise ConfigurationError(f"hosts need the package {name}: pip install {name}", subject=name)
    top = Path(found.origin).parent
    for path in _files(top, _IGNORED):
        yield f"{name}/{path.relative_to(top)}", path


def _of_suite(suite: Suite, folder: Path) -> Iterator[tuple[str, Path]]:
    for name in suite.ship.folders:
        top = folder / name
        if not top.is_dir():
            raise ConfigurationError(f"ship.folders: there is no folder {top}", subject=name)
        for path in _files(top, (*_IGNORED, *suite.ship.ignore)):
            yield os.path.normpath(f"{name}/{path.relative_to(top)}"), path


def _files(top: Path, ignored: Sequence[str]) -> Iterator[Path]:
    for path, folders, files in os.walk(top):
        folders[:] = [name for name in sorted(folders) if not _is_ignored(name, ignored)]
        yield from (Path(path) / name for name in sorted(files) if not _is_ignored(name, ignored))


def _is_ignored(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _packed(files: Iterator[tuple[str, Path]]) -> Archive:
    """An archive of files, the same bytes for the same content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, path in files:
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.external_attr = (path.stat().st_mode & 0o777) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    data = buffer.getvalue()
    return Archive(hashlib.sha256(data).hexdigest(), data)
