"""The certificate is replaced again and again under load: no connection is lost."""

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.waiting import wait_until

from .conftest import Example, Start
from .test_tls_examples import Folder

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

SWAPS = 20
CONNECTIONS = 5
FAULTS = ("refused", "reset", "closed", "lost", "altered", "reordered", "duplicated")
RUN = ["--connections", "20", "--messages", "3", "--size", "1KiB", "--json", "-"]


class Load:
    """`vespiary load`, again and again, with new connections each time."""

    def __init__(self, url: str, authority: Path) -> None:
        self._command = [sys.executable, "-m", "vespiary", "load", url, "--ca", str(authority)]
        self._is_over = False
        self._thread = threading.Thread(target=self._run)
        self.runs = 0
        self.failures: list[str] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send load during a block."""
        self._thread.start()
        try:
            yield
        finally:
            self._is_over = True
            self._thread.join()

    def _run(self) -> None:
        while not self._is_over:
            done = subprocess.run([*self._command, *RUN], capture_output=True, text=True)
            report = json.loads(done.stdout) if done.returncode == 0 else {}
            if not report or any(report[name] for name in FAULTS):
                self.failures.append(done.stdout + done.stderr)
            self.runs += 1


def connected(example: Example, folder: Folder) -> ssl.SSLSocket:
    """A connection whose client is Python's `ssl`."""
    plain = socket.create_connection(example.address, 60)
    return folder.context().wrap_socket(plain, server_hostname="localhost")


def shown(example: Example, folder: Folder) -> bytes | None:
    """The certificate that new connections get."""
    with connected(example, folder) as client:
        return client.getpeercert(binary_form=True)


@pytest.mark.parametrize("scheme", ["tls", "wss"])
def test_no_connection_is_lost_while_the_certificate_is_replaced_twenty_times(
    start: Start, tmp_path: Path, scheme: str
) -> None:
    folder = Folder(tmp_path)
    example = start("tls_echo.py", f"{scheme}://127.0.0.1:0", *folder.pair)
    url = example.url.replace("127.0.0.1", "localhost")
    assert urlsplit(url).scheme == scheme
    load = Load(url, tmp_path / "vespiary-ca.pem")
    kept = [connected(example, folder) for _ in range(CONNECTIONS if scheme == "tls" else 0)]
    seen = {shown(example, folder)}
    with load.running():
        for swap in range(1, SWAPS + 1):
            folder.make("localhost", "localhost", "127.0.0.1")
            example.send_signal(signal.SIGHUP)
            wait_until(lambda: shown(example, folder) not in seen)
            seen.add(shown(example, folder))
            for client in kept:
                client.sendall(b"%d" % swap)
                assert client.recv(100) == b"%d" % swap
            before = load.runs
            wait_until(lambda before=before: load.runs > before)  # type: ignore[misc]
    assert load.failures == []
    assert load.runs >= SWAPS
    assert len(seen) == SWAPS + 1
    for client in kept:
        client.close()
    example.kill()
