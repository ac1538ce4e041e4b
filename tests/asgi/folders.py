"""A folder with files, and a client of a server for them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import vespiary

from .kit import HTTP, Client, Reply, connected, serving

__all__ = ["LARGE", "OLD", "fields", "files", "filled"]

LARGE = bytes(range(251)) * 5000
OLD = 1_700_000_000


@asynccontextmanager
async def files(folder: Path, url: str = HTTP, **options: Any) -> AsyncIterator[Client]:
    """A client of a server for the files of a folder."""
    async with (
        serving(vespiary.StaticFiles(folder, **options), url) as server,
        connected(server) as client,
    ):
        yield client


def fields(reply: Reply) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in reply.headers if name != b"date"}


def filled(tmp_path: Path) -> Path:
    """A folder with files, and one beside it that nobody may see."""
    (tmp_path / "secret.txt").write_text("secret")
    public = tmp_path / "public"
    (public / "sub" / "deep").mkdir(parents=True)
    (public / "empty").mkdir()
    (public / ".git").mkdir()
    for name, content in {
        "index.html": b"<h1>front",
        "a.txt": b"hello",
        "none.bin": b"",
        "large.bin": LARGE,
        "sub/index.html": b"<h1>sub",
        "sub/deep/app.js": b"app()",
        "caf\u00e9 1.txt": b"coffee",
        ".env": b"key",
        ".git/config": b"key",
        "404.html": b"<h1>nothing",
    }.items():
        (public / name).write_bytes(content)
        os.utime(public / name, (OLD, OLD))
    return public
