"""Upload and download files piece by piece, so that no file is in memory as a whole.

PUT /name stores a file, GET /name sends it, and GET / lists the files. An upload is written to a
temporary file, which is renamed when the upload is complete.

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
    """Read a file in a thread, piece by piece. It is closed even if the client disconnects."""
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
        """Store an upload. An incomplete upload leaves no file."""
        with temporary_file(self.folder) as file:
            async for piece in request.chunks():
                await asyncio.to_thread(file.write, piece)
            size = file.tell()
            keep(file, path)
        return request.respond(201, f"stored {size} bytes as {path.name}\n")


@contextmanager
def temporary_file(folder: Path) -> Generator[IO[bytes], None, None]:
    """Create a file that is deleted at the end, unless it was renamed."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", delete=False) as file:
        try:
            yield file
        finally:
            Path(file.name).unlink(missing_ok=True)


def keep(file: IO[bytes], path: Path) -> None:
    """Rename a temporary file."""
    file.close()
    Path(file.name).replace(path)


def main(url: str = "http://127.0.0.1:8000", folder: str = "") -> None:
    """Serve a folder."""
    with tempfile.TemporaryDirectory() as temporary:
        vespiary.serve(Files(Path(folder or temporary)), url, limits=LIMITS)


if __name__ == "__main__":
    main(*sys.argv[1:])
