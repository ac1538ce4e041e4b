"""The pytest plugin: its fixtures in plain tests, with pytest-asyncio and with anyio."""

import os
import subprocess
import sys
from pathlib import Path

SECONDS = 60.0
HANDLER = """
import pytest
import vespiary

class Echo(vespiary.Handler[str]):
    def on_message(self, connection, message):
        connection.send(message)
"""


def run_pytest(folder: Path, text: str, *options: str, status: int = 0) -> str:
    """Run a file of tests as a project of its own would; what pytest wrote."""
    (folder / "test_example.py").write_text(HANDLER + text)
    (folder / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if name != "VESPIARY_SEED"}
    done = subprocess.run(
        [*command, "-W", "error", *options, str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_a_server_for_plain_tests(tmp_path: Path) -> None:
    text = """
def test_echo(vespiary_server):
    for url in ("ws", "unix", "tcp://127.0.0.1:0"):
        server = vespiary_server(Echo(), url, **({} if url == "ws" else {"framing": "line"}))
        options = {} if url == "ws" else {"framing": "line"}
        with vespiary.sync.connect(server.url, **options) as client:
            client.send("hello")
            assert client.receive(5) in ("hello", b"hello")

def test_another_librarys_client(vespiary_server):
    from websockets.sync.client import connect
    server = vespiary_server(Echo())
    with connect(server.url) as client:
        client.send("hello")
        assert client.recv(5) == "hello"
    assert server.statistics().total.messages_received == 1
"""
    assert "2 passed" in run_pytest(tmp_path, text)


def test_a_server_in_a_thread_with_pytest_asyncio(tmp_path: Path) -> None:
    text = """
from websockets.asyncio.client import connect

@pytest.mark.asyncio
async def test_echo(vespiary_server):
    server = vespiary_server(Echo())
    async with connect(server.url) as client:
        await client.send("hello")
        assert await client.recv() == "hello"
"""
    assert "1 passed" in run_pytest(tmp_path, text)


def test_a_server_in_the_tests_own_loop_with_pytest_asyncio(tmp_path: Path) -> None:
    text = """
@pytest.mark.asyncio
async def test_echo(vespiary_server):
    async with vespiary_server.in_loop(Echo()) as server, server.connect() as client:
        client.send("hello")
        assert await client.receive() == "hello"
"""
    assert "1 passed" in run_pytest(tmp_path, text)


def test_a_server_in_the_tests_own_loop_with_anyio(tmp_path: Path) -> None:
    text = """
@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_echo(vespiary_server):
    async with vespiary_server.in_loop(Echo()) as server, server.connect() as client:
        client.send("hello")
        assert await client.receive() == "hello"

@pytest.mark.anyio
async def test_echo_in_a_thread(vespiary_server):
    server = vespiary_server(Echo())
    async with vespiary.connect(server.url) as client:
        client.send("hello")
        assert await client.receive() == "hello"
"""
    assert "2 passed" in run_pytest(tmp_path, text)


def test_a_client_in_memory_and_simulated_tests(tmp_path: Path) -> None:
    text = """
from vespiary.testing import serve, simulated

def test_echo(vespiary_client):
    connection = vespiary_client(Echo(), faults="lossless", seed=3).connect()
    connection.send("hello")
    assert connection.receive() == "hello"

@simulated(seeds=5, faults="lossless")
async def test_in_the_simulation(tmp_path):
    assert tmp_path.exists()
    async with serve(Echo()) as server, server.connect() as client:
        client.send("hello")
        assert await client.receive() == "hello"
"""
    assert "2 passed" in run_pytest(tmp_path, text)
    assert "2 passed" in run_pytest(tmp_path, text, "-o", "asyncio_mode=auto")


def test_a_failing_seed_is_printed(tmp_path: Path) -> None:
    text = """
from vespiary.testing import simulated

@simulated(seeds=5)
async def test_wrong():
    import random
    assert random.Random(0).random() > 1
"""
    written = run_pytest(tmp_path, text, status=1)
    assert "simulated with seed=0" in written
    assert "VESPIARY_SEED=0" in written


def test_a_server_that_cannot_start_fails_the_test_with_its_reason(tmp_path: Path) -> None:
    text = """
def test_echo(vespiary_server):
    server = vespiary_server(Echo())
    with pytest.raises(OSError, match="another process listens there"):
        vespiary_server(Echo(), server.url)
"""
    assert "1 passed" in run_pytest(tmp_path, text)


def test_its_names_are_all_its_own(tmp_path: Path) -> None:
    written = run_pytest(tmp_path, "def test_nothing(): pass\n", "--fixtures")
    block = written.partition("fixtures defined from vespiary.testing.plugin")[2]
    names = [line.split()[0] for line in block.splitlines() if line[:1].isalpha()]
    assert names[:2] == ["vespiary_server", "vespiary_client"]
