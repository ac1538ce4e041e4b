"""`vespiary serve` as a person uses it: a process, its URLs, its log, its signals."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import websockets.sync.client

from tests.addresses import free_port
from tests.waiting import wait_until

ECHO = """\
import vespiary

ANSWER = "{answer}"

class Echo(vespiary.Handler):
    def on_message(self, connection, message):
        connection.send(message.decode() + ANSWER)

class Demanding(vespiary.Handler):
    def __init__(self, what):
        self.what = what

async def echo(connection):
    async for message in connection:
        connection.send(message)
"""
BOTH = """\
import vespiary

class Both(vespiary.Handler):
    def on_datagram(self, datagram):
        datagram.reply(datagram.data.upper())

    def on_message(self, connection, message):
        connection.send(message)
"""
SECONDS = 60.0


class Command:
    """A `vespiary serve` under way, in a folder of its own."""

    def __init__(self, folder: Path, *arguments: str, inherited: Sequence[int] = ()) -> None:
        self.folder = folder
        self._log = (folder / "log.txt").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vespiary", "serve", *arguments],
            cwd=folder,
            stderr=self._log,
            pass_fds=inherited,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the log has it."""

        def find() -> re.Match[str] | None:
            found = re.search(pattern, self.log())
            assert found or self.process.poll() is None, self.log()
            return found

        return wait_until(find, lambda: f"{pattern!r} did not come:\n{self.log()}")

    def ask(self, line: bytes) -> bytes:
        """Send a line to the port that the log names, and read one."""
        port = int(self.wait_for(r"Serving tcp://127\.0\.0\.1:(\d+)")[1])
        with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
            client.sendall(line + b"\n")
            return client.makefile("rb").readline().rstrip()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Command]]:
    """Commands that are ended with the test; a module `echoes` lies in their folder."""
    write(tmp_path, "!")
    commands: list[Command] = []
    yield commands
    for command in commands:
        command.close()


def write(folder: Path, answer: str) -> None:
    (folder / "echoes.py").write_text(ECHO.format(answer=answer))


def start(commands: list[Command], folder: Path, *arguments: str) -> Command:
    commands.append(Command(folder, *arguments))
    return commands[-1]


URL = ("tcp://127.0.0.1:0", "--framing", "line")
STAYS = """
import signal
import vespiary

class Stays(vespiary.Handler):
    def on_message(self, connection, message):
        connection.send(message)

    def on_stop(self, server):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pause()
"""


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("echoes:Echo", b"hello!"),
        ("echoes.py:Echo", b"hello!"),
        ("echoes:echo", b"hello"),
    ],
)
def test_a_class_or_an_async_function_is_served(
    started: list[Command], tmp_path: Path, reference: str, answer: bytes
) -> None:
    command = start(started, tmp_path, reference, *URL)
    assert command.ask(b"hello") == answer
    assert command.stop() == 0


def test_a_module_in_another_folder_is_found_with_path(
    started: list[Command], tmp_path: Path
) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (tmp_path / "echoes.py").unlink()
    write(app, "?")
    command = start(started, tmp_path, "echoes:Echo", *URL, "--path", "app")
    assert command.ask(b"hello") == b"hello?"
    assert command.stop() == 0


def test_messages_are_compressed_where_compress_is_given(
    started: list[Command], tmp_path: Path
) -> None:
    command = start(started, tmp_path, "echoes:echo", "ws://127.0.0.1:0", "--compress")
    url = command.wait_for(r"Serving (ws://\S+)")[1]
    with websockets.sync.client.connect(url) as client:
        (extension,) = client.protocol.extensions
        assert extension.name == "permessage-deflate"
        client.send("hello " * 1000)
        assert client.recv(SECONDS) == "hello " * 1000
    assert command.stop() == 0


def test_the_driver_that_was_forced_is_taken_and_told(
    started: list[Command], tmp_path: Path
) -> None:
    command = start(started, tmp_path, "echoes:Echo", *URL, "--driver", "epoll")
    command.wait_for("epoll")
    assert command.ask(b"hello") == b"hello!"
    assert command.stop() == 0


def test_a_limit_given_on_the_command_line_holds(started: list[Command], tmp_path: Path) -> None:
    command = start(started, tmp_path, "echoes:echo", *URL, "--limit", "message_bytes_max=16")
    assert command.ask(b"short") == b"short"
    with pytest.raises(ConnectionResetError):
        command.ask(b"longer than sixteen bytes")
    command.wait_for("message_bytes_max")
    assert command.stop() == 0


def is_served(port: int) -> bool:
    """Whether a server listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), SECONDS).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_log_level_silences_what_is_below_it(started: list[Command], tmp_path: Path) -> None:
    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    command = start(started, tmp_path, "echoes:echo", url, "--log-level", "error")
    wait_until(lambda: is_served(port))
    assert command.stop() == 0
    assert command.log() == ""


def test_an_address_in_use_is_reported_in_a_sentence(
    started: list[Command], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        command = start(started, tmp_path, "echoes:echo", url)
        assert command.process.wait(SECONDS) == 1
    assert f"Error: cannot listen on {url}" in command.log()
    assert "another process listens there" in command.log()
    assert "Traceback" not in command.log()


def test_a_class_that_wants_arguments_is_refused_in_a_sentence(
    started: list[Command], tmp_path: Path
) -> None:
    command = start(started, tmp_path, "echoes:Demanding", *URL)
    assert command.process.wait(SECONDS) == 2
    assert "echoes:Demanding cannot be created without arguments" in command.log()


def test_a_changed_source_is_served_at_the_same_port(
    started: list[Command], tmp_path: Path
) -> None:
    command = start(started, tmp_path, "echoes:Echo", *URL, "--reload")
    assert command.ask(b"hello") == b"hello!"
    port = command.wait_for(r"Serving tcp://127\.0\.0\.1:(\d+)")[1]
    write(tmp_path, " again")
    command.wait_for(r"echoes\.py changed; restarting")
    command.wait_for(rf"Serving tcp://127\.0\.0\.1:{port}(?s:.*)Serving tcp://127\.0\.0\.1:{port}")
    assert command.ask(b"hello") == b"hello again"
    assert command.stop() == 0


def test_a_syntax_error_is_reported_and_its_repair_is_served(
    started: list[Command], tmp_path: Path
) -> None:
    command = start(started, tmp_path, "echoes:Echo", *URL, "--reload")
    assert command.ask(b"hello") == b"hello!"
    (tmp_path / "echoes.py").write_text("class Echo(:\n")
    command.wait_for("SyntaxError")
    command.wait_for("waiting for a change")
    write(tmp_path, " repaired")
    command.wait_for(r"waiting for a change(?s:.*)Serving")
    assert command.ask(b"hello") == b"hello repaired"
    assert command.stop() == 0


def test_a_syntax_error_at_the_first_start_is_repaired_too(
    started: list[Command], tmp_path: Path
) -> None:
    (tmp_path / "echoes.py").write_text("class Echo(:\n")
    command = start(started, tmp_path, "echoes:Echo", *URL, "--reload")
    command.wait_for("waiting for a change")
    write(tmp_path, " repaired")
    assert command.ask(b"hello") == b"hello repaired"
    assert command.stop() == 0


PEERS = """\
import vespiary

class Peer(vespiary.Handler):
    def on_open(self, connection):
        connection.send(connection.peer[0])
"""

FILTERS = """\
import vespiary

class Loud(vespiary.Filter):
    def received(self, connection, data):
        return data.upper()

loud = Loud()
"""


def test_filters_threads_and_spinning_can_be_asked_for(
    started: list[Command], tmp_path: Path
) -> None:
    (tmp_path / "extras.py").write_text(FILTERS)
    options = ("--filter", "extras:Loud", "--executor", "threads", "--spin-microseconds", "50")
    command = start(started, tmp_path, "echoes:Echo", *URL, *options)
    assert command.ask(b"hello") == b"HELLO!"
    assert command.stop() == 0


def test_what_is_not_a_filter_is_reported(started: list[Command], tmp_path: Path) -> None:
    (tmp_path / "extras.py").write_text(FILTERS)
    command = start(started, tmp_path, "echoes:Echo", *URL, "--filter", "extras:loud")
    assert command.process.wait(SECONDS) != 0
    assert "extras:loud is an object of type Loud" in command.log()


def test_threads_are_for_plain_methods(started: list[Command], tmp_path: Path) -> None:
    command = start(started, tmp_path, "echoes:echo", *URL, "--executor", "threads")
    assert command.process.wait(SECONDS) != 0
    assert "plain methods" in command.log()


def test_a_server_that_is_still_stopping_at_the_second_signal_has_been_stopped(
    started: list[Command], tmp_path: Path
) -> None:
    (tmp_path / "stays.py").write_text(STAYS)
    command = start(started, tmp_path, "stays:Stays", *URL, "--reload")
    assert command.ask(b"hello") == b"hello"
    assert command.stop() == 0


def test_an_inherited_socket_is_served_and_survives_a_reload(
    started: list[Command], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        number = listener.fileno()
        command = Command(
            tmp_path,
            *("echoes:Echo", f"tcp://127.0.0.1:{port}", "--framing", "line", "--reload"),
            *("--fd", str(number)),
            inherited=[number],
        )
        started.append(command)
        assert command.ask(b"hello") == b"hello!"
        write(tmp_path, " again")
        command.wait_for(r"restarting(?s:.*)Serving tcp")
        assert command.ask(b"hello") == b"hello again"
        assert command.stop() == 0


def test_a_socket_file_gets_its_mode(started: list[Command], tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    options = ("--mode", "640", "--drain-seconds", "250ms", "--backlog", "16", "--reuse-port")
    command = start(started, tmp_path, "echoes:Echo", f"unix://{path}", *options)
    command.wait_for("Serving unix")
    assert path.stat().st_mode & 0o777 == 0o640
    assert command.stop() == 0


def test_help_has_its_examples_on_lines_of_their_own() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "vespiary", "serve", "--help"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    ).stdout
    lines = [line.strip() for line in printed.splitlines()]
    assert "vespiary serve echo:Echo ws://127.0.0.1:9001" in lines
    assert "\\b" not in printed
    assert "\b" not in printed


def test_options_of_a_kind_of_endpoint_apply_to_the_urls_of_that_kind(
    started: list[Command], tmp_path: Path
) -> None:
    options = (*URL, "--origin", "https://a.example")
    command = start(started, tmp_path, "echoes:echo", "ws://127.0.0.1:0", *options)
    command.wait_for("Serving ws://")
    assert command.ask(b"hello") == b"hello"
    assert command.stop() == 0


def test_datagrams_are_served_beside_a_stream_whose_options_they_do_not_have(
    started: list[Command], tmp_path: Path
) -> None:
    (tmp_path / "both.py").write_text(BOTH)
    urls = (*URL, "udp://127.0.0.1:0")
    command = start(started, tmp_path, "both:Both", *urls, "--proxy-protocol-from", "10.0.0.0/8")
    port = int(command.wait_for(r"Serving udp://127.0.0.1:(\d+)")[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(SECONDS)
        client.sendto(b"hello", ("127.0.0.1", port))
        assert client.recv(100) == b"HELLO"
    assert command.ask(b"hello") == b"hello"
    assert command.stop() == 0


def test_proxies_are_named_for_each_kind_of_endpoint(
    started: list[Command], tmp_path: Path
) -> None:
    (tmp_path / "peers.py").write_text(PEERS)
    options = ("--proxy-protocol-from", "127.0.0.1", "--proxy-protocol-from", "unix")
    urls = ("tcp://127.0.0.1:0", f"unix://{tmp_path}/a.sock")
    command = start(started, tmp_path, "peers:Peer", *urls, *options)
    port = int(command.wait_for(r"Serving tcp://127.0.0.1:(\d+)")[1])
    command.wait_for("Serving unix")
    with (
        socket.create_connection(("127.0.0.1", port)) as first,
        socket.socket(socket.AF_UNIX) as second,
    ):
        second.connect(f"{tmp_path}/a.sock")
        for one in (first, second):
            one.settimeout(SECONDS)
            one.sendall(b"PROXY TCP4 192.0.2.7 198.51.100.1 8080 443\r\n")
            assert one.recv(100) == b"192.0.2.7"
    assert command.stop() == 0


@pytest.mark.parametrize(
    ("option", "url"),
    [
        (("--framing", "line"), "ws://127.0.0.1:0"),
        (("--framing", "line"), "udp://127.0.0.1:0"),
        (("--origin", "https://a.example"), "tcp://127.0.0.1:0"),
        (("--subprotocol", "chat"), "unix:///tmp/x.sock"),
        (("--host", "a.example"), "tcp://127.0.0.1:0"),
        (("--mode", "660"), "tcp://127.0.0.1:0"),
        (("--proxy-protocol-from", "unix"), "tcp://127.0.0.1:0"),
        (("--proxy-protocol-from", "10.0.0.0/8"), "unix:///tmp/x.sock"),
        (("--forwarded-from", "10.0.0.0/8"), "tcp://127.0.0.1:0"),
        (("--forwarded-from", "unix"), "ws://127.0.0.1:0"),
        (("--proxy-protocol-from", "10.0.0.0/8"), "udp://127.0.0.1:0"),
    ],
)
def test_an_option_that_none_of_the_urls_takes_is_an_error_with_the_options_own_name(
    started: list[Command], tmp_path: Path, option: tuple[str, str], url: str
) -> None:
    command = start(started, tmp_path, "echoes:echo", url, *option)
    assert command.process.wait(SECONDS) == 2
    assert option[0] in command.log()
    assert "no URL is one of these" in command.log()


def test_a_url_with_tls_and_no_certificate_is_an_error_with_the_options_of_the_command(
    started: list[Command], tmp_path: Path
) -> None:
    command = start(started, tmp_path, "echoes:echo", "wss://127.0.0.1:0")
    assert command.process.wait(SECONDS) == 2
    assert "needs a certificate: pass --cert FILE and --key FILE" in command.log()
    assert "ServerTLS" not in command.log()
