"""A folder whose files are served: which file a path means, and what describes it."""

from __future__ import annotations

import asyncio
import errno
import fnmatch
import mimetypes
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from vespiary.http._beneath import open_beneath
from vespiary.http._conditions import Validators

__all__ = [
    "ENCODINGS",
    "File",
    "Folder",
    "MediaTypes",
    "Redirected",
    "matching",
    "segments_of",
]

ENCODINGS = {"br": b".br", "zstd": b".zst", "gzip": b".gz"}
"""The content codings that files next to a file may have, and how their names end. Where the client
does not care, the first one is sent."""

_MALFORMED = re.compile("%(?![0-9A-Fa-f]{2})")
_MORE_TYPES = {
    ".avif": "image/avif",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
"""Types that older versions of Python do not know, or name differently."""
_COMPRESSED = {
    "br": "application/x-brotli",
    "bzip2": "application/x-bzip2",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}
"""A file that is compressed itself is sent as what it is."""
_MISSING = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.EXDEV,
    errno.ENAMETOOLONG,
    errno.ENXIO,
    errno.EINVAL,
}


class MediaTypes:
    """Knows the media types of files by the ends of their names.

    Args:
        more: Types by the end of the name, such as `.geojson`; they go before those that are known.
    """

    def __init__(self, more: Mapping[str, str]) -> None:
        # An object of its own knows nothing of the machine's files, so all machines agree.
        self._types = mimetypes.MimeTypes()
        for end, kind in {**_MORE_TYPES, **more}.items():
            self._types.add_type(kind, end.lower())
        self._known: dict[str, str] = {}

    def of(self, name: bytes) -> str:
        """Return the media type of a file by its name."""
        end = os.path.splitext(os.fsdecode(name))[1].lower()  # noqa: PTH122 - slow
        found = self._known.get(end)
        if found is None:
            kind, encoding = self._types.guess_type(f"a{end}")
            if encoding is not None:
                kind = _COMPRESSED.get(encoding)
            found = kind or "application/octet-stream"
            if found.startswith("text/") and ";" not in found:
                found = f"{found}; charset=utf-8"
            if len(self._known) < 1000:
                self._known[end] = found
        return found


@dataclass(frozen=True, slots=True)
class File:
    """An open file.

    Attributes:
        descriptor: The file; to be closed.
        name: Its path in the folder, without the end that says how it is compressed.
        size: Bytes.
        validators: What says whether it has changed.
        encoding: How it is compressed, as `Content-Encoding` has it; empty if it is not.
    """

    descriptor: int
    name: bytes
    size: int
    validators: Validators
    encoding: str = ""


@dataclass(frozen=True, slots=True)
class Redirected:
    """The path is a folder's, and has no slash at its end."""


def segments_of(path: str, skipped: int, *, shows_dot_files: bool) -> list[bytes] | None:
    """Return the decoded segments of a request's path; None if it cannot be the path of a file.

    Args:
        path: The path as sent, without the query.
        skipped: How many segments at the front belong to the endpoint's own path.
        shows_dot_files: Whether names may begin with a dot.
    """
    if not path.startswith("/") or _MALFORMED.search(path):
        return None
    segments = [unquote_to_bytes(part) for part in path[1:].split("/")][skipped:]
    for number, segment in enumerate(segments):
        is_last = number == len(segments) - 1
        if (not segment and not is_last) or segment in (b".", b".."):
            return None
        if b"/" in segment or b"\0" in segment:
            return None
        if segment.startswith(b".") and not shows_dot_files:
            return None
    return segments


class Folder:
    """Finds files in a folder.

    Args:
        path: The folder. It is opened for each request, so it may be replaced, as by a symbolic
            link to a new release.
        index: The names of the files that stand for a folder.
    """

    def __init__(self, path: Path, index: Iterable[str]) -> None:
        self.path = path
        self._index = tuple(os.fsencode(name) for name in index)

    async def find(self, segments: list[bytes], codings: Sequence[str]) -> File | Redirected | None:
        """Return the file that a path means, open.

        Args:
            segments: The path; the last one is empty for a folder.
            codings: The content codings that may be sent, the preferred one first.

        Raises:
            PermissionError: it may not be read.
            OSError: it cannot be opened for another reason than that there is no such file.
        """
        try:
            return self._find(segments, codings, only_cached=True)
        except BlockingIOError:
            return await asyncio.to_thread(self._find, segments, codings, only_cached=False)

    def _find(
        self, segments: list[bytes], codings: Sequence[str], *, only_cached: bool
    ) -> File | Redirected | None:
        name = b"/".join(segments)
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            folder = os.open(self.path, flags)
        except FileNotFoundError:
            return None
        try:
            if not segments[-1]:
                return self._find_index(folder, name, codings, only_cached=only_cached)
            found = self._open(folder, name, only_cached=only_cached)
            if found is None:
                return None
            info = os.fstat(found)
            if stat.S_ISREG(info.st_mode):
                return self._described(folder, found, info, name, codings, only_cached=only_cached)
            is_folder = stat.S_ISDIR(info.st_mode)
            os.close(found)
            if not is_folder:
                return None
            beneath = b"%b/" % name
            index = self._find_index(folder, beneath, (), only_cached=only_cached)
            if index is None:
                return None
            os.close(index.descriptor)
            return Redirected()
        finally:
            os.close(folder)

    def _find_index(
        self, folder: int, name: bytes, codings: Sequence[str], *, only_cached: bool
    ) -> File | None:
        for index in self._index:
            whole = name + index
            found = self._open(folder, whole, only_cached=only_cached)
            if found is None:
                continue
            info = os.fstat(found)
            if stat.S_ISREG(info.st_mode):
                return self._described(folder, found, info, whole, codings, only_cached=only_cached)
            os.close(found)
        return None

    @staticmethod
    def _open(folder: int, name: bytes, *, only_cached: bool) -> int | None:
        try:
            return open_beneath(folder, name, only_cached=only_cached)
        except OSError as error:
            if error.errno in _MISSING:
                return None
            raise

    def _described(
        self,
        folder: int,
        found: int,
        plain: os.stat_result,
        name: bytes,
        codings: Sequence[str],
        *,
        only_cached: bool,
    ) -> File:
        """A file, or the one next to it that the client prefers."""
        try:
            for encoding in codings:
                other = self._open(folder, name + ENCODINGS[encoding], only_cached=only_cached)
                if other is None:
                    continue
                info = os.fstat(other)
                # One that is older was made of what the file was before.
                if stat.S_ISREG(info.st_mode) and int(info.st_mtime) >= int(plain.st_mtime):
                    os.close(found)
                    return _file(other, name, info, encoding)
                os.close(other)
        except BaseException:
            os.close(found)
            raise
        return _file(found, name, plain, "")


def _file(descriptor: int, name: bytes, info: os.stat_result, encoding: str) -> File:
    mark = f"-{encoding}" if encoding else ""
    etag = f'"{info.st_mtime_ns:x}-{info.st_size:x}{mark}"'
    return File(descriptor, name, info.st_size, Validators(etag, int(info.st_mtime)), encoding)


def matching(name: bytes, patterns: Mapping[str, str]) -> str | None:
    """Return the value of the first pattern that fits the path of a file."""
    text = os.fsdecode(name)
    for pattern, value in patterns.items():
        if fnmatch.fnmatchcase(text, pattern.removeprefix("/")):
            return value
    return None
