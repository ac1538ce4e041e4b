"""From what `plugin` names to assemblies in memory: C# is compiled, and all files are read once.

The process of a plug-in gets the bytes of its assemblies, and opens none of their files. So they
can be replaced at any time (the original's shadow copy), a process that starts again runs what the
server has checked, and a user without rights in the folder can run it.

What was compiled is kept in a folder, by a hash of everything that goes into it. The folder belongs
to this user alone, since what is in it is executed. Where there cannot be such a folder, everything
is compiled at each start.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vespiary._suggestions import advice
from vespiary.errors import ConfigurationError

__all__ = ["COMPILER", "INTERFACE", "Assembly", "Managed", "files_of", "managed"]

logger = logging.getLogger("vespiary.wasp")

INTERFACE = Path(__file__).with_name("Vespiary.cs")
"""The interface of plug-ins."""

COMPILER = "mcs"
_COMPILE_SECONDS = 120
_FILES_MAX = 1000
_BYTES_MAX = 256 << 20
_KEPT_MAX = 32
_ATTEMPTS = 5
_REMEMBERED_MAX = 8
_remembered: OrderedDict[str, Assembly] = OrderedDict()
"""What this process has compiled last, by its hash: where there is no cache, and for reloads."""
_MESSAGE = re.compile(r"(?P<file>[^()]*)\((?P<line>\d+),(?P<column>\d+)[^)]*\): (?P<text>.*)")
_SEVERE = re.compile(r"(?P<text>(error|warning) CS\d+: .*)")


@dataclass(frozen=True, slots=True)
class Assembly:
    """An assembly, as it is loaded.

    Attributes:
        name: Its file, for errors.
        data: The file.
        symbols: What is known of its lines, if there is such a file.
    """

    name: str
    data: bytes
    symbols: bytes | None = None


@dataclass(frozen=True, slots=True)
class Managed:
    """A plug-in that can be loaded.

    Attributes:
        reference: How the configuration names it.
        plugin: The assembly with the plug-in.
        references: Others that it needs, in addition to those of mono.
        wanted: The class; None if the assembly has one only.
    """

    reference: str
    plugin: Assembly
    references: tuple[Assembly, ...]
    wanted: str | None

    def chosen(self, names: Sequence[str]) -> str:
        """Which of the plug-ins in the assembly is the one.

        Args:
            names: The full names of all.

        Raises:
            ConfigurationError: none is, or several are.
        """
        if not names:
            raise _wrong(self.reference, "has no class that derives from Vespiary.Plugin")
        if self.wanted is None:
            if len(names) > 1:
                file = self.reference.rstrip(":")
                text = f"has {len(names)} plug-ins, {', '.join(names)}: name one, as in"
                raise _wrong(self.reference, f"{text} {file}:{names[0]}")
            return names[0]
        for name in names:
            if self.wanted in (name, name.rpartition(".")[2]):
                return name
        near = advice(self.wanted, names)
        raise _wrong(self.reference, f"has no plug-in {self.wanted!r}: {near}")


def _wrong(reference: str, text: str) -> ConfigurationError:
    return ConfigurationError(f"{reference}: {text}", subject="plugin", value=reference)


def _split(reference: str) -> tuple[str, str | None]:
    """The file or folder, and the class if there is one."""
    name, colon, wanted = reference.rpartition(":")
    return (name, wanted) if colon else (reference, None)


def files_of(reference: str, references: Sequence[str], folder: Path) -> list[Path]:
    """The files that a plug-in is made from; a change of one of them changes the plug-in."""
    path = folder / _split(reference)[0]
    found = sorted(path.rglob("*.cs"))[:_FILES_MAX] if path.is_dir() else [path]
    return found + [folder / one for one in references if _is_file(one)]


def _is_file(reference: str) -> bool:
    return reference.endswith(".dll")


def managed(reference: str, references: Sequence[str], folder: Path) -> Managed:
    """Compile a plug-in if it is not compiled yet, and read its assemblies.

    Args:
        reference: A file of C#, a folder with such files, or an assembly; with `:CLASS` if it has
            several plug-ins.
        references: Names of mono's assemblies, or files that end with `.dll`.
        folder: What paths are relative to.

    Raises:
        ConfigurationError: a file cannot be read, the compiler has found mistakes, or there is no
            compiler.
    """
    name, wanted = _split(reference)
    path = folder / name
    others = tuple(_read(folder / one, one) for one in references if _is_file(one))
    if not path.exists():
        raise _wrong(reference, _not_there(path))
    if path.suffix == ".dll":
        return Managed(reference, _read(path, reference), others, wanted)
    if path.suffix != ".cs" and not path.is_dir():
        raise _wrong(reference, _not_there(path))
    for _ in range(_ATTEMPTS):
        sources = [one for one in files_of(reference, (), folder) if one.suffix == ".cs"]
        if not sources:
            raise _wrong(reference, "is a folder without files that end with .cs")
        if len(sources) >= _FILES_MAX:
            text = f"is a folder with too many files that end with .cs: at most {_FILES_MAX - 1}"
            raise _wrong(reference, text)
        before = _hash(reference, sources, references, others)
        plugin = _compiled(reference, path.stem, sources, references, folder, before)
        # If a file was changed meanwhile, it is not known which of both was compiled.
        if _hash(reference, sources, references, others) == before:
            return Managed(reference, plugin, others, wanted)
    raise _wrong(reference, "was changed each time that it was compiled")


def _not_there(path: Path) -> str:
    expected = "expected a file that ends with .cs or .dll, or a folder with files of C#"
    if path.exists():
        return expected
    near = sorted(one.name for pattern in ("*.cs", "*.dll") for one in path.parent.glob(pattern))
    found = f"; {advice(path.name, near)}" if near else ""
    return f"there is no such file{found} ({expected})"


def _read(path: Path, reference: str) -> Assembly:
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise _wrong(reference, f"has more than {_BYTES_MAX} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise _wrong(reference, f"cannot be read: {error.strerror}") from None
    for place in (path.with_name(f"{path.name}.mdb"), path.with_suffix(".pdb")):
        with contextlib.suppress(OSError):
            return Assembly(reference, data, place.read_bytes())
    return Assembly(reference, data)


def _hash(
    reference: str,
    sources: Sequence[Path],
    references: Sequence[str],
    others: Sequence[Assembly],
) -> str:
    found = hashlib.sha256()
    parts = [str(INTERFACE).encode(), INTERFACE.read_bytes()]
    for source in sources:
        try:
            # The path is part of the result: stacks name it.
            parts += [str(source.absolute()).encode(), source.read_bytes()]
        except OSError as error:
            raise _wrong(reference, f"{source} cannot be read: {error.strerror}") from None
    parts += [one.encode() for one in references]
    parts += [one.data for one in others]
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()


def _compiled(
    reference: str,
    name: str,
    sources: Sequence[Path],
    references: Sequence[str],
    folder: Path,
    key: str,
) -> Assembly:
    """Compile, or take what was compiled from the same before."""
    if key in _remembered:
        return _remembered[key]
    cache = _cache()
    file = f"{name}.dll"
    if cache is not None:
        with contextlib.suppress(OSError, ConfigurationError):
            os.utime(cache / key)
            found = _read(cache / key / file, reference)
            if found.data:
                return _remember(key, found)
    place = Path(tempfile.mkdtemp(dir=cache, prefix="vespiary-"))
    try:
        _compile(reference, place / file, sources, references, folder)
        made = _read(place / file, reference)
        if cache is not None:
            # Another process may have been faster.
            with contextlib.suppress(OSError):
                place.rename(cache / key)
            _tidy(cache)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return _remember(key, made)


def _remember(key: str, made: Assembly) -> Assembly:
    _remembered[key] = made
    while len(_remembered) > _REMEMBERED_MAX:
        _remembered.popitem(last=False)
    return made


def _cache() -> Path | None:
    """The folder for what was compiled; None if there cannot be one that is this user's alone."""
    base = os.environ.get("CACHE_DIRECTORY", "").partition(":")[0]
    base = base or os.environ.get("XDG_CACHE_HOME", "")
    try:
        place = Path(base) if os.path.isabs(base) else Path.home() / ".cache"  # noqa: PTH117
        place = place / "vespiary" / "clr"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.stat()
        is_ours = found.st_uid == os.geteuid() and not found.st_mode & 0o022
        return place if is_ours and os.access(place, os.W_OK) else None
    except (OSError, RuntimeError):
        return None


def _tidy(cache: Path) -> None:
    """Remove what was not used for the longest time."""
    with contextlib.suppress(OSError):
        found = sorted(cache.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
        for one in found[_KEPT_MAX:]:
            shutil.rmtree(one, ignore_errors=True)


def _compile(
    reference: str,
    target: Path,
    sources: Sequence[Path],
    references: Sequence[str],
    folder: Path,
) -> None:
    compiler = shutil.which(COMPILER)
    if compiler is None:
        raise _wrong(reference, f"cannot be compiled: there is no program {COMPILER}")
    libraries = [str((folder / one).absolute()) if _is_file(one) else one for one in references]
    command = [compiler, "-target:library", "-debug", "-codepage:utf8", f"-out:{target}"]
    command += [f"-r:{one}" for one in ("System.Core", *libraries)]
    command += [str(one.absolute()) for one in (*sources, INTERFACE)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMPILE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        text = f"the compiler has not ended after {_COMPILE_SECONDS} seconds"
        raise _wrong(reference, text) from None
    output = (done.stdout + done.stderr).decode(errors="replace").splitlines()
    messages = [one for one in map(_message, output) if one is not None]
    if done.returncode:
        found = [one for one in messages if "error CS" in one] or output
        story = "".join(f"\n  {one}" for one in found)
        raise _wrong(reference, f"cannot be compiled:{story}")
    for one in messages:
        logger.warning("%s", one)


def _message(line: str) -> str | None:
    """A line of the compiler as `FILE:LINE:COLUMN: text`; None if it says nothing new."""
    found = _MESSAGE.fullmatch(line)
    if found is not None:
        return "{file}:{line}:{column}: {text}".format(**found.groupdict())
    found = _SEVERE.fullmatch(line)
    return None if found is None else found["text"]
