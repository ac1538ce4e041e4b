"""SIGHUP: what has changed is replaced, the rest keeps its connections, mistakes change nothing."""

import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.addresses import OWN_HOST, free_port
from tests.wasp.conftest import Lines, Run, address_of

Connect = Callable[[str], Lines]

A = f"""\
[endpoints.a]
url = "tcp://{OWN_HOST}:0"
plugin = "plug.py:Greeter"
framing = "line"
deadlines.close_seconds = "200ms"
"""
B = A.replace("endpoints.a", "endpoints.b")


def test_what_has_not_changed_keeps_its_connections(run: Run, lines: Connect, folder: Path) -> None:
    server = run(A + B)
    first, second = map(lines, server.serves(2))
    assert first.ask("Ann") == "hello Ann 1"
    assert second.ask("Ben") == "hello Ben 1"
    (folder / "wasp.toml").write_text(A + B + 'config.greeting = "welcome"\n')
    server.reload()
    assert "Reloaded: replaced b; unchanged a" in server.log
    assert first.ask("Ann") == "hello Ann 2"
    assert second.end() == b"", "the old connection drains"
    assert server.urls[-1] == server.urls[1], "the port stays"
    assert lines(server.urls[1]).ask("Ben") == "welcome Ben 1"
    assert server.stop() == 0


def test_endpoints_start_and_stop(run: Run, lines: Connect, folder: Path) -> None:
    server = run(A)
    old = server.serves(1)[0]
    client = lines(old)
    assert client.ask("Ann") == "hello Ann 1"
    (folder / "wasp.toml").write_text(B)
    server.reload()
    assert "Reloaded: started b; stopped a" in server.log
    assert lines(server.urls[-1]).ask("Ben") == "hello Ben 1"
    assert client.end() == b""
    with socket.socket() as refused:
        assert refused.connect_ex(address_of(old)) != 0
    assert server.stop() == 0


def test_a_configuration_with_mistakes_changes_nothing(
    run: Run, lines: Connect, folder: Path
) -> None:
    server = run(A)
    client = lines(server.serves(1)[0])
    (folder / "wasp.toml").write_text(A.replace("line", "lines"))
    server.reload()
    assert f"{folder}/wasp.toml:4: endpoints.a.framing: expected 'raw'" in server.log
    assert "the old one stays in use" in server.log
    assert client.ask("Ann") == "hello Ann 1"
    (folder / "wasp.toml").write_text(A)
    server.reload(2)
    assert "Reloaded: unchanged a" in server.log
    assert client.ask("Ann") == "hello Ann 2"


def test_an_on_start_that_fails_changes_nothing(run: Run, lines: Connect, folder: Path) -> None:
    server = run(A)
    (url,) = server.serves(1)
    client = lines(url)
    (folder / "wasp.toml").write_text(B + A + "config.fails = true\n")
    server.reload()
    assert "RuntimeError: the database is not there" in server.log
    assert "raised by on_start of endpoints.a" in server.log
    assert client.ask("Ann") == "hello Ann 1"
    assert lines(url).ask("Ben") == "hello Ben 2"
    assert server.urls == [url]
    assert server.stop() == 0


def test_an_address_in_use_changes_nothing(run: Run, lines: Connect, folder: Path) -> None:
    server = run(A)
    (url,) = server.serves(1)
    with socket.create_server((OWN_HOST, 0)) as other:
        taken = B.replace(":0", f":{other.getsockname()[1]}")
        (folder / "wasp.toml").write_text(A.replace('"line"', '"crlf"') + taken)
        server.reload()
    assert "another process listens there" in server.log
    assert lines(url).ask("Ann") == "hello Ann 1"
    assert server.stop() == 0


def test_a_plugin_that_was_edited_is_replaced(run: Run, lines: Connect, folder: Path) -> None:
    server = run(A)
    (url,) = server.serves(1)
    assert lines(url).ask("Ann") == "hello Ann 1"
    plugin = folder / "plug.py"
    plugin.write_text(plugin.read_text().replace('"hello"', '"good evening"'))
    server.reload()
    assert lines(url).ask("Ann") == "good evening Ann 1"
    plugin.write_text("import nothing_of_this_name\n")
    server.reload(2)
    assert "No module named 'nothing_of_this_name'" in server.log
    assert lines(url).ask("Ann") == "good evening Ann 2"


def test_a_module_that_was_edited_is_reported(run: Run, lines: Connect, folder: Path) -> None:
    server = run(A.replace("plug.py:", "plug:"))
    (url,) = server.serves(1)
    server.reload()
    assert "has changed" not in server.log
    plugin = folder / "plug.py"
    plugin.write_text(plugin.read_text().replace('"hello"', '"good evening"'))
    server.reload(2)
    assert "The module plug has changed, but the old one stays in use: restart" in server.log
    assert lines(url).ask("Ann") == "hello Ann 1"


def test_endpoints_that_share_an_address_are_replaced_together(
    run: Run, lines: Connect, folder: Path
) -> None:
    port = free_port()
    page = f'[endpoints.page]\nurl = "http://127.0.0.1:{port}/page"\nplugin = "plug.py:Page"\n'
    other = page.replace("endpoints.page", "endpoints.other").replace("/page", "/other")
    server = run(A + page + other)
    server.serves(3)
    (folder / "wasp.toml").write_text(A + page + other.replace("/other", "/new"))
    server.reload()
    assert "replaced page, other; unchanged a" in server.log
    for path, status in {"page": b"200", "new": b"200", "other": b"404"}.items():
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            request = f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            client.sendall(request.encode())
            assert client.makefile("rb").readline().split()[1] == status


class Knocking:
    """Connects again and again in a thread, and counts what is refused and what is answered."""

    def __init__(self, url: str) -> None:
        self._address = address_of(url)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._use)
        self.refused = 0
        self.answered = 0

    def __enter__(self) -> "Knocking":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _use(self) -> None:
        while not self._is_over.is_set():
            try:
                with socket.create_connection(self._address, timeout=60) as client:
                    client.sendall(b"Ann\n")
                    self.answered += client.makefile("rb").readline().endswith(b"\n")
            except ConnectionRefusedError:
                self.refused += 1
            except OSError:
                # It was accepted just before its endpoint was replaced, and drained.
                pass


def test_no_connect_is_refused_while_an_endpoint_is_replaced(run: Run, folder: Path) -> None:
    server = run(A)
    with Knocking(server.serves(1)[0]) as clients:
        for number in range(1, 21):
            (folder / "wasp.toml").write_text(A + f'config.greeting = "{number}"\n')
            server.reload(number)
            seen = clients.answered
            server.until(lambda seen=seen: clients.answered > seen)  # type: ignore[misc]
    assert clients.refused == 0
    assert server.log.count("Reloaded: replaced a") == 20
    assert server.stop() == 0


@pytest.mark.parametrize("head", ["", "workers = 1\n"], ids=["alone", "workers"])
def test_requests_that_have_only_begun_are_answered_by_the_old_endpoint(
    run: Run, folder: Path, head: str
) -> None:
    page = '[endpoints.page]\nurl = "http://127.0.0.1:0/"\nplugin = "plug.py:Page"\n'
    chat = '[endpoints.chat]\nurl = "ws://127.0.0.1:0/"\nplugin = "plug.py:Greeter"\n'
    server = run(head + page + chat)
    page_url, chat_url = server.serves(2)
    handshake = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    handshake += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    with (
        socket.create_connection(address_of(page_url), timeout=60) as first,
        socket.create_connection(address_of(page_url), timeout=60) as idle,
        socket.create_connection(address_of(chat_url), timeout=60) as second,
    ):
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(4096).startswith(b"HTTP/1.1 200")
        first.sendall(b"GET / HTTP/1.1\r\nHo")
        second.sendall(b"GET / HTTP/1.1\r\n")
        plugin = folder / "plug.py"
        plugin.write_text(plugin.read_text().replace('"process ', '"new process '))
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("Reloaded:")
        assert idle.recv(4096) == b"", "a connection between two requests is closed"
        first.sendall(b"st: x\r\n\r\n")
        answer = first.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"\r\n\r\nprocess " in answer
        second.sendall(b"Host: x\r\n" + handshake + b"\r\n")
        stream = second.makefile("rb")
        assert stream.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
        # The old endpoint drains: it closes what has opened, with 1001.
        while stream.readline() != b"\r\n":
            pass
        assert stream.read(4) == b"\x88\x1a\x03\xe9"
    assert server.stop() == 0


def test_a_stop_ends_what_a_reload_still_drains(run: Run, lines: Connect, folder: Path) -> None:
    plugin = folder / "plug.py"
    plugin.write_text(
        plugin.read_text()
        + """
class Stubborn(Greeter):
    def on_shutdown(self, connection):
        pass
"""
    )
    text = A.replace("Greeter", "Stubborn")
    server = run(text)
    client = lines(server.serves(1)[0])
    assert client.ask("Ann") == "hello Ann 1"
    (folder / "wasp.toml").write_text(text + 'config.greeting = "welcome"\n')
    server.reload()
    assert client.ask("Ann") == "hello Ann 2", "the old connection goes on while it drains"
    server.process.send_signal(signal.SIGTERM)
    server.wait_for("Received SIGTERM")
    assert server.stop() == 0, "a second signal ends everything at once"


def test_with_workers_new_ones_take_over_the_sockets(
    run: Run, lines: Connect, folder: Path
) -> None:
    server = run("workers = 2\n" + A)
    (url,) = server.serves(1)
    client = lines(url)
    assert client.ask("Ann") == "hello Ann 1"
    (folder / "wasp.toml").write_text("workers = 1\n" + A + 'config.greeting = "welcome"\n' + B)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("Reloaded: generation 2 serves")
    assert client.end() == b"", "the old workers drain"
    assert server.urls[1] == url, "the port stays"

    def answer() -> str:
        # The old workers accept until their stop has begun, and then end their connections.
        try:
            return lines(url).ask("Ann")
        except OSError:
            return ""

    server.until(lambda: answer().startswith("welcome Ann"))
    assert lines(server.urls[2]).ask("Ben") == "hello Ben 1"
    assert server.stop() == 0


def test_with_workers_what_cannot_start_changes_nothing(
    run: Run, lines: Connect, folder: Path
) -> None:
    server = run("workers = 1\n" + A)
    (url,) = server.serves(1)
    client = lines(url)
    for number, text in enumerate(
        (A, "workers = 1\n" + A + "farming = 1\n", "workers = 1\n" + A + "config.fails = true\n"),
        start=1,
    ):
        (folder / "wasp.toml").write_text(text)
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("the old one stays in use", number)
        assert client.ask("Ann") == f"hello Ann {number}"
    assert "workers: cannot be removed by a reload" in server.log
    assert "endpoints.a.farming: unknown key" in server.log
    assert "RuntimeError: the database is not there" in server.log
    (folder / "plug.py").write_text("import nothing_of_this_name\n")
    (folder / "wasp.toml").write_text("workers = 1\n" + A)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("the old one stays in use", 4)
    assert "No module named 'nothing_of_this_name'" in server.log
    assert client.ask("Ann") == "hello Ann 4"
    assert server.stop() == 0


def test_with_workers_no_connect_is_refused_during_reloads(run: Run) -> None:
    server = run("workers = 1\n" + A)
    with Knocking(server.serves(1)[0]) as clients:
        for number in range(2, 6):
            server.process.send_signal(signal.SIGHUP)
            server.wait_for(f"Reloaded: generation {number} serves")
    assert clients.refused == 0
    assert clients.answered > 0
    assert server.stop() == 0


KINDS = """\
[endpoints.local]
url = "unix://{folder}/local.sock"
plugin = "plug.py:Greeter"
framing = "line"
mode = "600"

[endpoints.datagrams]
url = "udp://127.0.0.1:0"
plugin = "plug.py:Datagrams"

[endpoints.socket]
url = "ws://127.0.0.1:0/rooms/{{room}}"
plugin = "plug.py:Greeter"
"""


def test_every_kind_of_socket_is_kept_and_none_is_left_open(run: Run, folder: Path) -> None:
    text = KINDS.format(folder=folder)
    server = run(text)
    urls = server.serves(3)
    path = folder / "local.sock"
    descriptors = Path(f"/proc/{server.process.pid}/fd")

    def count() -> int:
        return len(list(descriptors.iterdir()))

    before = count()
    plugin = folder / "plug.py"
    for number in range(1, 6):
        plugin.write_text(plugin.read_text() + "\n")
        server.reload(number)
        assert server.urls[-3:] == urls
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(str(path))
            client.sendall(b"Ann\n")
            assert client.recv(100) in (b"hello Ann 1\n", b"")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(60)
            client.sendto(b"hello", address_of(urls[1]))
            assert client.recv(100) == b"hello"
    server.until(lambda: count() <= before)
    (folder / "wasp.toml").write_text(text.replace('mode = "600"', 'mode = "660"'))
    server.reload(6)
    assert path.stat().st_mode & 0o777 == 0o660
    assert server.stop() == 0
    assert not path.exists()


def test_a_stop_cancels_a_reload_that_waits_for_an_on_start(run: Run, folder: Path) -> None:
    plugin = folder / "plug.py"
    plugin.write_text(
        plugin.read_text()
        + """
import asyncio

class Slow(Greeter):
    async def on_start(self, server):
        print("starting", file=__import__("sys").stderr, flush=True)
        await asyncio.Event().wait()
"""
    )
    server = run(A)
    server.serves(1)
    (folder / "wasp.toml").write_text(A + B.replace("Greeter", "Slow"))
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("starting")
    assert server.stop() == 0
