"""The answer to one request for a file."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from vespiary.errors import ConnectionClosed
from vespiary.http import _ranges
from vespiary.http._access import log_access
from vespiary.http._conditions import Validators, http_date, may_use_range, precondition
from vespiary.http._eager import Starter
from vespiary.http._encodings import acceptable
from vespiary.http._files import is_cached, send_part
from vespiary.http._folder import File, Folder, MediaTypes, Redirected, matching, segments_of
from vespiary.http._messages import ClientGone

if TYPE_CHECKING:
    from vespiary._core import Exchange

__all__ = ["Static", "StaticCall"]

_WHOLE_BYTES_MAX = 64 << 10
"""Files up to this size are read and sent with their head, in one write."""
_TEXTS = {
    403: b"Forbidden\n",
    404: b"Not Found\n",
    405: b"Method Not Allowed\n",
    412: b"Precondition Failed\n",
    416: b"Range Not Satisfiable\n",
    500: b"Internal Server Error\n",
}

Lines = list[tuple[str, str]]


@dataclass(slots=True, eq=False)
class Static:
    """What an endpoint serves files from.

    Attributes:
        folder: The folder.
        media_types: Knows the types of the files.
        cache_control: `Cache-Control` by patterns of paths.
        not_found: The page for paths without a file; None for a short text.
        fallback: The page that is sent instead of pages that do not exist.
        shows_dot_files: Whether files whose names begin with a dot are served.
        is_precompressed: Whether compressed files may be next to the others.
        has_access_log: Whether each request is logged.
        calls: The calls that have not ended.
        starter: Begins the tasks of the calls.
    """

    folder: Folder
    media_types: MediaTypes
    cache_control: dict[str, str]
    not_found: str | None = None
    fallback: str | None = None
    shows_dot_files: bool = False
    is_precompressed: bool = False
    has_access_log: bool = False
    calls: set[StaticCall] = field(default_factory=set)
    starter: Starter = field(default_factory=Starter)


class StaticCall:
    """One request."""

    __slots__ = ("_exchange", "_headers", "_skipped", "_static", "_status", "task")

    def __init__(self, static: Static, exchange: Exchange, skipped: int) -> None:
        self._static = static
        self._exchange = exchange
        self._skipped = skipped
        self._status = 0
        self._headers: dict[bytes, bytes] | None = None
        self.task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Answer it."""
        exchange = self._exchange
        try:
            await self._answer()
        except (ClientGone, ConnectionClosed):
            pass
        except Exception as error:
            exchange.connection._report(error)
            if exchange.is_started:
                exchange.abort()
            elif not exchange.is_disconnected:
                self._refuse(500)
        except BaseException:
            if exchange.is_started:
                exchange.abort()
            raise
        finally:
            self._static.calls.discard(self)
            self.task = None
            if self._static.has_access_log:
                log_access(
                    exchange.connection.peer,
                    exchange.method,
                    exchange.target,
                    exchange.minor_version,
                    self._status,
                )

    def _get(self, name: str) -> str | None:
        """The value of a header field; several lines of it are one list."""
        headers = self._headers
        if headers is None:
            headers = self._headers = {}
            for known, value in self._exchange.headers:
                before = headers.get(known)
                headers[known] = value if before is None else b"%b, %b" % (before, value)
        found = headers.get(name.encode())
        return None if found is None else found.decode("latin-1")

    async def _answer(self) -> None:
        if self._exchange.method not in ("GET", "HEAD"):
            return self._refuse(405, [("Allow", "GET, HEAD")])
        static = self._static
        path = self._exchange.target.partition("?")[0]
        segments = segments_of(path, self._skipped, shows_dot_files=static.shows_dot_files)
        try:
            found = None if not segments else await self._find(segments)
        except PermissionError:
            return self._refuse(403)
        if isinstance(found, Redirected):
            return self._redirect(path)
        if found is None:
            return await self._replace(segments)
        try:
            await self._send(found)
        finally:
            os.close(found.descriptor)
        return None

    async def _find(self, segments: list[bytes]) -> File | Redirected | None:
        static = self._static
        codings = acceptable(self._get("accept-encoding")) if static.is_precompressed else ()
        return await static.folder.find(segments, codings)

    def _redirect(self, path: str) -> None:
        _, mark, query = self._exchange.target.partition("?")
        # One slash at the front: two would be another host.
        place = "/" + quote(path.lstrip("/"), safe="/%:@!$&'()*+,;=~-._") + "/"
        self._refuse(301, [("Location", f"{place}{mark}{query}")])

    def _refuse(self, status: int, lines: Lines | None = None) -> None:
        self._status = status
        body = _TEXTS.get(status, b"")
        kind = [("Content-Type", "text/plain; charset=utf-8")] if body else []
        self._exchange.respond(status, [*(lines or []), *kind], body)

    async def _replace(self, segments: list[bytes] | None) -> None:
        """There is no such file: send a page in its place."""
        static = self._static
        if static.fallback is not None and segments and self._asks_for_page(segments):
            return await self._send_page(static.fallback, 200)
        if static.not_found is not None:
            return await self._send_page(static.not_found, 404)
        return self._refuse(404)

    def _asks_for_page(self, segments: list[bytes]) -> bool:
        """Whether a browser would show the answer: a script or a picture is not a page."""
        return b"." not in segments[-1] or "text/html" in (self._get("accept") or "")

    async def _send_page(self, name: str, status: int) -> None:
        found = await self._find(os.fsencode(name).split(b"/"))
        if not isinstance(found, File):
            return self._refuse(404)
        try:
            if status == 200:
                await self._send(found)
            else:
                await self._send_whole(found, status, self._described(found))
        finally:
            os.close(found.descriptor)
        return None

    def _described(self, file: File) -> Lines:
        """The header fields about a file's contents."""
        static = self._static
        lines = [("Content-Type", static.media_types.of(file.name))]
        if file.encoding:
            lines.append(("Content-Encoding", file.encoding))
        if static.is_precompressed:
            lines.append(("Vary", "Accept-Encoding"))
        return lines

    def _validating(self, file: File, validators: Validators) -> Lines:
        lines = [
            ("ETag", validators.etag),
            ("Last-Modified", http_date(validators.modified)),
            ("Accept-Ranges", "bytes"),
        ]
        control = matching(file.name, self._static.cache_control)
        return lines if control is None else [*lines, ("Cache-Control", control)]

    async def _send(self, file: File) -> None:
        now = time.time()
        validators = file.validators
        if now - validators.modified < 1:
            validators = Validators(validators.etag, validators.modified, is_old=False)
        status = precondition(self._get, validators, now)
        lines = self._validating(file, validators)
        if status == 412:
            return self._refuse(412)
        if status == 304:
            self._status = 304
            vary = [line for line in self._described(file) if line[0] == "Vary"]
            return self._exchange.respond(304, [*lines, *vary], b"")
        lines = [*self._described(file), *lines]
        parts = self._parts(file, validators, now)
        if parts is None:
            return await self._send_whole(file, 200, lines)
        if not parts:
            return self._refuse(416, [("Content-Range", f"bytes */{file.size}")])
        if len(parts) == 1:
            part = parts[0]
            lines.append(("Content-Range", part.content_range(file.size)))
            return await self._send_parts(file, lines, iter([part]), part.length)
        return await self._send_multipart(file, lines, parts)

    def _parts(self, file: File, validators: Validators, now: float) -> _ranges.Parts | None:
        # Ranges are defined for GET alone (RFC 9110 section 14.2).
        value = self._get("range") if self._exchange.method == "GET" else None
        if value is None or not may_use_range(self._get, validators, now):
            return None
        return _ranges.chosen(value, file.size)

    async def _send_whole(self, file: File, status: int, lines: Lines) -> None:
        self._status = status
        size = file.size
        if self._exchange.method == "HEAD":
            return self._exchange.respond(status, [*lines, ("Content-Length", str(size))], b"")
        if size <= _WHOLE_BYTES_MAX:
            data = await _read(file.descriptor, size)
            if len(data) < size:
                raise RuntimeError(f"{os.fsdecode(file.name)} became shorter while it was read")
            return self._exchange.respond(status, lines, data)
        self._exchange.start(status, [*lines, ("Content-Length", str(size))])
        await self._send_file(file, _ranges.Part(0, size))
        return self._exchange.end()

    async def _send_parts(
        self, file: File, lines: Lines, pieces: Iterator[_ranges.Part | bytes], length: int
    ) -> None:
        self._status = 206
        self._exchange.start(206, [*lines, ("Content-Length", str(length))])
        for piece in pieces:
            if isinstance(piece, bytes):
                self._exchange.write(piece)
            else:
                await self._send_file(file, piece)
        self._exchange.end()

    async def _send_multipart(self, file: File, lines: Lines, parts: _ranges.Parts) -> None:
        boundary = secrets.token_hex(12)
        media_type = self._static.media_types.of(file.name)
        heads = _ranges.multipart(parts, file.size, media_type, boundary)
        whole = f"multipart/byteranges; boundary={boundary}"
        lines = [("Content-Type", whole), *(line for line in lines if line[0] != "Content-Type")]
        length = sum(map(len, heads)) + sum(part.length for part in parts)

        def pieces() -> Iterator[_ranges.Part | bytes]:
            for head, part in zip(heads, parts, strict=False):
                yield head
                yield part
            yield heads[-1]

        await self._send_parts(file, lines, pieces(), length)

    async def _send_file(self, file: File, part: _ranges.Part) -> None:
        await send_part(self._exchange, file.descriptor, part.offset, part.length, self._room)

    async def _room(self) -> None:
        exchange = self._exchange
        while not exchange.is_writable:
            await exchange.changed()
        if exchange.is_disconnected:
            raise ClientGone


async def _read(descriptor: int, size: int) -> bytes:
    """A file that is small; fewer bytes where it has become shorter."""
    if size and not is_cached(descriptor, 0, size):
        return await asyncio.to_thread(os.pread, descriptor, size, 0)
    return os.pread(descriptor, size, 0)


def begin_static(static: Static, skipped: int, task_name: str) -> Callable[[Exchange], None]:
    """Return what the engine calls for each request of an endpoint.

    Args:
        static: What is served.
        skipped: How many segments of the path belong to the endpoint's own.
        task_name: The name of the tasks.
    """

    def begin(exchange: Exchange) -> None:
        call = StaticCall(static, exchange, skipped)
        task = static.starter.begin(call.run(), task_name)
        if task is not None:
            call.task = task
            static.calls.add(call)

    return begin
