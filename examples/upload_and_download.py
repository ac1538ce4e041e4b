"""Files are uploaded and downloaded piece by piece, so that none is in memory as a whole.

PUT /name stores a file, GET /name sends it, GET / lists the files. An upload is written to a
temporary file, which gets its name only when the upload is complete.

Run:   .venv/bin/python examples/upload_and_download.py [URL [FOLDER]]
       (default http://127.0.0.1:8000, and a temporary folder)
Talk:  curl -T README.md http://127.0.0.1:8000/readme
       curl http://127.0.0.1:8000/readme
       curl http://127.0.0.1:8000/
"""

import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import vespiary

NAME = re.compile(r"/([\w-][\w.-]{0,99})", re.ASCII)
PIECE_BYTES = 64 << 10
LIMITS = vespiary.Limits(body_bytes_max=1 << 30)


async def pieces(path: Path) -> AsyncIterator[bytes]:
    """Read a file in a thread, piece by piece; it is closed when the client has gone away too."""
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece


class Files(vespiary.Handler):
    """The files of a folder."""

    stream_requests = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def on_request(self, request: vespiary.Request) -> vespiary.Response:
        """Answer a request."""
        if request.path == "/" and request.method in ("GET", "HEAD"):
            return request.respond(200, "".join(f"{name}\n" for name in self.names()))
        found = NAME.fullmatch(request.path)
        if found is None:
            return request.respond(404, "there are / and /name\n")
        path = self.folder / found[1]
        if request.method == "PUT":
            return await self.store(request, path)
        if request.method not in ("GET", "HEAD"):
            return request.respond(405, headers={"Allow": "GET, HEAD, PUT"})
        if not path.is_file():
            return request.respond(404, f"there is no file {path.name}\n")
        size = [("Content-Length", str(path.stat().st_size))]
        return request.respond(200, pieces(path), size)

    def names(self) -> list[str]:
        """The names of all files."""
        names = (path.name for path in self.folder.iterdir())
        return sorted(name for name in names if NAME.fullmatch(f"/{name}"))

    async def store(self, request: vespiary.Request, path: Path) -> vespiary.Response:
        """Store an upload. One that is cut leaves nothing behind."""
        with temporary_file(self.folder) as file:
            async for piece in request.chunks():
                await asyncio.to_thread(file.write, piece)
            size = file.tell()
            keep(file, path)
        return request.respond(201, f"stored {size} bytes as {path.name}\n")


@contextmanager
def temporary_file(folder: Path) -> Generator[IO[bytes], None, None]:
    """A file that is gone at the end, unless it was kept."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", delete=False) as file:
        try:
            yield file
        finally:
            Path(file.name).unlink(missing_ok=True)


def keep(file: IO[bytes], path: Path) -> None:
    """Give a temporary file its name."""
    file.close()
    Path(file.name).replace(path)


def main(url: str = "http://127.0.0.1:8000", folder: str = "") -> None:
    """Serve a folder."""
    with tempfile.TemporaryDirectory() as temporary:
        vespiary.serve(Files(Path(folder or temporary)), url, limits=LIMITS)


if __name__ == "__main__":
    main(*sys.argv[1:])
