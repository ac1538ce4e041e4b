"""The environ of WSGI (PEP 3333): what an application learns of a request."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from vespiary._core import Exchange
    from vespiary.endpoint import Endpoint

__all__ = ["Environs", "FileWrapper"]

_UNPREFIXED = {"CONTENT_TYPE", "CONTENT_LENGTH"}
_DROPPED = {b"proxy"}
"""`HTTP_PROXY` would be taken for the proxy of this machine (httpoxy, CVE-2016-5385)."""

_FILE_BYTES = 256 << 10
"""How much of a file is read at once: each piece goes from one thread to another."""


_KEYS_MAX = 256
_KEYS: dict[bytes, str] = {}
"""The keys of header fields that have come already: most come with each request."""


def _key(name: bytes) -> str:
    """The key of a header field; empty where it is dropped."""
    key = name.decode("latin-1").upper().replace("-", "_")
    if name in _DROPPED or b"_" in name:
        # A name with an underscore could pass for another one that a proxy has set.
        key = ""
    elif key not in _UNPREFIXED:
        key = f"HTTP_{key}"
    if len(_KEYS) < _KEYS_MAX:
        _KEYS[name] = key
    return key


class FileWrapper:
    """The pieces of a file (PEP 3333); closes it at the end of the response."""

    def __init__(self, file: BinaryIO, block_size: int = 0) -> None:
        self._file = file
        self._block_size = max(block_size, _FILE_BYTES)

    def __iter__(self) -> Iterator[bytes]:
        while data := self._file.read(self._block_size):
            yield data

    def part(self) -> tuple[int, int, int] | None:
        """Return the descriptor, the offset and the length of what is left of the file.

        None if it has to be read, because its bytes may not be those of a file on a disk.
        """
        file = self._file
        if type(file) not in (io.FileIO, io.BufferedReader, io.BufferedRandom):
            return None
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode) or not info.st_size:
            return None
        offset = file.tell()
        return file.fileno(), offset, max(info.st_size - offset, 0)

    def close(self) -> None:
        """Close the file, if it can be closed."""
        close = getattr(self._file, "close", None)
        if close is not None:
            close()


class Environs:
    """Makes the environs for an endpoint.

    Args:
        endpoint: The endpoint.
        script_name: Where the application is mounted.
        is_behind_proxy: Whether `X-Forwarded-Proto` of a trusted proxy says what the scheme is.
    """

    def __init__(self, endpoint: Endpoint, script_name: str, *, is_behind_proxy: bool) -> None:
        self._script_name = script_name
        self._is_behind_proxy = is_behind_proxy
        self._base: dict[str, Any] = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if endpoint.is_secure else "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
            "SCRIPT_NAME": script_name,
            "SERVER_NAME": endpoint.host or "localhost",
            "SERVER_PORT": str(endpoint.port or 80),
            "REMOTE_ADDR": "",
        }

    def make(self, exchange: Exchange, stream: BinaryIO) -> dict[str, Any]:
        """Return the environ of a request, whose body is read from `stream`."""
        environ = self._base.copy()
        path, _, query = exchange.target.partition("?")
        environ["REQUEST_METHOD"] = exchange.method
        environ["SERVER_PROTOCOL"] = f"HTTP/1.{exchange.minor_version}"
        environ["QUERY_STRING"] = query
        environ["REQUEST_URI"] = environ["RAW_URI"] = exchange.target
        environ["PATH_INFO"] = self._path_info(path)
        environ["wsgi.input"] = stream
        connection = exchange.connection
        local, peer = connection.local_address, connection.peer
        if type(local) is tuple:
            environ["SERVER_NAME"], environ["SERVER_PORT"] = local[0], str(local[1])
        if type(peer) is tuple:
            environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = peer[0], str(peer[1])
        self._add_headers(environ, exchange.headers)
        if self._is_behind_proxy and connection._is_forwarded:
            scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip().lower()
            if scheme in ("http", "https"):
                environ["wsgi.url_scheme"] = scheme
        return environ

    def _path_info(self, path: str) -> str:
        """The decoded path without the mount point, each byte as one character (PEP 3333)."""
        decoded = unquote_to_bytes(path).decode("latin-1") if "%" in path else path
        prefix = self._script_name
        if prefix and (decoded == prefix or decoded.startswith(f"{prefix}/")):
            return decoded[len(prefix) :]
        return decoded

    @staticmethod
    def _add_headers(environ: dict[str, Any], headers: list[tuple[bytes, bytes]]) -> None:
        for name, value in headers:
            try:
                key = _KEYS[name]
            except KeyError:
                key = _key(name)
            if not key:
                continue
            text = value.decode("latin-1")
            if key in environ:
                separator = "; " if key == "HTTP_COOKIE" else ","
                text = f"{environ[key]}{separator}{text}"
            environ[key] = text
