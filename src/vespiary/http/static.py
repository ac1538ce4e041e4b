"""`vespiary.StaticFiles`: the files of a folder as a handler."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from vespiary._core import Hooks
from vespiary._hosted import Hosted
from vespiary.errors import ConfigurationError
from vespiary.http._folder import Folder, MediaTypes
from vespiary.http._options import check_switch
from vespiary.http._static_call import Static, begin_static
from vespiary.routing import PathPattern

if TYPE_CHECKING:
    from vespiary.endpoint import Endpoint
    from vespiary.server import Server

__all__ = ["StaticFiles"]

_MEDIA_TYPE = re.compile(r"[!#$&^_.+0-9A-Za-z-]+/[!#$&^_.+0-9A-Za-z-]+(;[\x20-\x7e]*)?")
_FIELD_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


class StaticFiles(Hosted):
    """The files of a folder, to be served on `http://` and `https://` endpoints.

    ::

        vespiary.serve(vespiary.StaticFiles("public"), "http://127.0.0.1:8000")

    On an endpoint with the path `/assets/{rest:path}`, `rest` is the path in the folder. On other
    endpoints it is the whole path of the request.

    Ranges and conditional requests are supported (RFC 9110 sections 13 and 14). The kernel copies
    the files to the socket. Paths and symbolic links that lead out of the folder are answered with
    404.

    Args:
        folder: The folder.
        index: The files that stand for a folder, the preferred one first.
        precompressed: Whether `NAME.br`, `NAME.zst` or `NAME.gz` is sent instead of `NAME` to
            clients that accept it, if it is there and not older.
        cache_control: The value of `Cache-Control` by a pattern of paths such as `assets/*` or
            `*.html`, where `*` stands for any characters; the first one that matches.
        not_found: A file in the folder that is sent with the status 404.
        fallback: A file in the folder that is sent for pages that do not exist, for single-page
            applications: for paths without a dot in their last segment, or if `Accept` has
            `text/html`.
        dot_files: Whether files and folders whose names begin with a dot are served.
        media_types: Further media types by the end of the name, such as `{".geojson": "..."}`.
        access_log: Whether each request is logged, at level INFO, by the logger
            `vespiary.access`.

    Raises:
        ConfigurationError: an option is not valid, or a file that it names does not exist.
    """

    interface: ClassVar[str] = "StaticFiles"

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        index: Sequence[str] = ("index.html",),
        precompressed: bool = False,
        cache_control: Mapping[str, str] | None = None,
        not_found: str | None = None,
        fallback: str | None = None,
        dot_files: bool = False,
        media_types: Mapping[str, str] | None = None,
        access_log: bool = False,
    ) -> None:
        path = _folder(folder)
        self._static = Static(
            folder=Folder(path, _names(index)),
            media_types=MediaTypes(_media_types(media_types or {})),
            cache_control=_cache_control(cache_control or {}),
            not_found=_page("not_found", path, not_found),
            fallback=_page("fallback", path, fallback),
            shows_dot_files=check_switch("dot_files", dot_files),
            is_precompressed=check_switch("precompressed", precompressed),
            has_access_log=check_switch("access_log", access_log),
        )

    def make_hooks(self, endpoint: Endpoint, task_name: str, *, is_behind_proxy: bool) -> Hooks:
        """Return what the engine calls for an endpoint."""
        pattern = PathPattern.parse(endpoint.target.partition("?")[0], str(endpoint))
        skipped = pattern.segments_before_rest
        return Hooks(exchange=begin_static(self._static, skipped, task_name))

    def on_stop(self, server: Server) -> None:
        """End the spare task."""
        self._static.starter.end()


def _wrong(name: str, text: str, value: object) -> ConfigurationError:
    return ConfigurationError(f"{name} {text}; got {value!r}", subject=name, value=value)


def _folder(folder: object) -> Path:
    if not isinstance(folder, str | os.PathLike) or not isinstance(os.fspath(folder), str):
        raise _wrong("folder", "is the path of a folder", folder)
    path = Path(folder).absolute()
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise _wrong("folder", f"{what}: {path}", os.fspath(folder))
    if not os.access(path, os.X_OK):
        raise _wrong("folder", f"cannot be opened: {path}", os.fspath(folder))
    return path


def _names(index: object) -> list[str]:
    is_list = isinstance(index, Sequence) and not isinstance(index, str | bytes)
    names = list(index) if is_list and isinstance(index, Sequence) else [None]
    found = [name for name in names if isinstance(name, str) and name and "/" not in name]
    if len(found) != len(names):
        raise _wrong("index", "is a list of names of files, such as ['index.html']", index)
    return found


def _page(name: str, folder: Path, value: object) -> str | None:
    if value is None:
        return None
    is_inside = isinstance(value, str) and value and ".." not in value.split("/")
    if not is_inside or not isinstance(value, str) or value.startswith("/"):
        raise _wrong(name, "is the path of a file in the folder", value)
    if not (folder / value).is_file():
        raise _wrong(name, f"is a file that does not exist: {folder / value}", value)
    return value


def _mapping(name: str, text: str, value: object) -> dict[str, str]:
    is_mapping = isinstance(value, Mapping)
    pairs = dict(value) if is_mapping and isinstance(value, Mapping) else {None: None}
    if not all(isinstance(one, str) and one for pair in pairs.items() for one in pair):
        raise _wrong(name, text, value)
    return {str(key): str(item) for key, item in pairs.items()}


def _cache_control(value: object) -> dict[str, str]:
    text = "is a mapping from patterns to values, such as {'*.html': 'no-cache'}"
    found = _mapping("cache_control", text, value)
    for control in found.values():
        if not _FIELD_VALUE.fullmatch(control):
            raise _wrong("cache_control", "has a value that a header field cannot have", control)
    return found


def _media_types(value: object) -> dict[str, str]:
    text = "is a mapping from ends of names to media types, such as {'.txt': 'text/plain'}"
    found = _mapping("media_types", text, value)
    for end, kind in found.items():
        if not end.startswith(".") or not _MEDIA_TYPE.fullmatch(kind):
            raise _wrong("media_types", text, value)
    return found
