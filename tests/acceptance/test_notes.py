"""The examples that keep notes in a database: SQLite on threads, PostgreSQL over asyncio."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from .conftest import Start

pytestmark = pytest.mark.acceptance

SECONDS = 30.0


def ask(url: str, *commands: str) -> list[Any]:
    with connect(url) as client:
        for command in commands:
            client.send(command)
        return [json.loads(client.recv(timeout=SECONDS)) for _ in commands]


def use(url: str) -> None:
    """Add notes from many clients at a time, and find them again."""
    with ThreadPoolExecutor(10) as pool:
        added = list(pool.map(lambda number: ask(url, f"add note {number}"), range(40)))
    assert all("error" not in str(answer) for answer in added)
    notes, found, wrong = ask(url, "list", "find note 3", "drop")
    assert sorted(text for _, text in notes) == sorted(f"note {number}" for number in range(40))
    assert {text for _, text in found} == {"note 3", *(f"note 3{digit}" for digit in range(10))}
    assert wrong == {"error": "commands: add TEXT, list, find TEXT"}


def test_notes_are_kept_in_sqlite(start: Start, tmp_path: Path) -> None:
    database = str(tmp_path / "notes.db")
    example = start("notes_sqlite.py", "ws://127.0.0.1:0", DATABASE=database)
    use(example.url)
    example.stop()
    example = start("notes_sqlite.py", "ws://127.0.0.1:0", DATABASE=database)
    assert len(ask(example.url, "list")[0]) == 40
    example.stop()


def postgresql_tool(name: str) -> str:
    path = os.pathsep.join(map(str, Path("/usr/lib/postgresql").glob("*/bin")))
    found = shutil.which(name, path=path) or shutil.which(name)
    if found is None:
        pytest.skip(f"PostgreSQL's {name} is not installed (Debian: postgresql)")
    return found


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """A PostgreSQL server of the test's own, on a Unix socket."""
    initdb, postgres = postgresql_tool("initdb"), postgresql_tool("postgres")
    user = "postgres" if os.geteuid() == 0 else getpass.getuser()
    as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    prefix = as_user if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="vespiary-postgresql-") as name:
        if prefix:
            shutil.chown(name, user, user)
        data = Path(name) / "data"
        make = [initdb, "-D", str(data), "-U", user, "-A", "trust", "--no-sync"]
        subprocess.run([*prefix, *make], check=True, capture_output=True, cwd=name)
        serve = [postgres, "-D", str(data), "-k", name, "-c", "listen_addresses=", "-F"]
        with (Path(name) / "log").open("wb") as log:
            process = subprocess.Popen([*prefix, *serve], cwd=name, stdout=log, stderr=log)
        try:
            wait_for_socket(Path(name) / ".s.PGSQL.5432", process)
            yield f"postgresql://{user}@/postgres?host={name}"
        finally:
            process.terminate()
            process.wait(SECONDS)


def wait_for_socket(path: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, "PostgreSQL has ended"
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(str(path)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("PostgreSQL does not answer")


def test_notes_are_kept_in_postgresql(start: Start, database_url: str) -> None:
    example = start("notes_postgresql.py", "ws://127.0.0.1:0", DATABASE_URL=database_url)
    before = len(ask(example.url, "list")[0])
    if before == 0:
        use(example.url)
    example.stop()
    example = start("notes_postgresql.py", "ws://127.0.0.1:0", DATABASE_URL=database_url)
    assert len(ask(example.url, "list")[0]) == 40
    example.stop()
