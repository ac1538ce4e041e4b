"""Every example in the README and the documents runs, and every link in them leads somewhere.

The comment above a Python example says how it is tested::

    <!-- serves: "hello" -> "hello"; b"x" -> b"x" -->     a server, what it is sent, what it answers
    <!-- serves /a?b: "hello" -> "hello" -->              the same, at this path of its first URL
    <!-- runs -->                                         a program that ends by itself
    <!-- runs against: echo -->                           the same; an echo server is at its URLs
    <!-- tests -->                                        tests that pytest runs, and that pass
    <!-- locks: inversion -->                             its verdict: see test_documents_locks.py
    <!-- of another library -->                           Python, for comparison; it is not run
    <!-- chat.py: serves: ... -->                         any of these, and the program has a name
    <!-- chat.py: is imported -->                         a program that can be imported
    <!-- chat.py: changes tutorial/chat.md -->            parts of the program with this name there
    <!-- test_chat.py: tests of tutorial/chat.md -->      tests of the programs with names there

Ports in examples are replaced by free ones. The clients are not ours, so that nothing is tested by
itself.
"""

import ast
import asyncio
import contextlib
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
import websockets.asyncio.client

from tests.addresses import free_port
from tests.inner_pytest import OURS, environment, pytest_words
from tests.waiting import wait_until
from vespiary._core import make_authority, make_certificate
from vespiary.cli.main import main

CHECKOUT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    path
    for path in [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")]
    if "_build" not in path.parts
]
BLOCK = re.compile(
    r"(?:^<!-- (?P<proof>[^\n]*) -->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)
PROOF = re.compile(r"(?:(?P<name>\w+\.py): )?(?P<how>.*)", re.S)
URL = re.compile(r"(?:tcp|udp|ws|http|tls|wss|https)://127\.0\.0\.1:\d+|unix:///[\w./-]+")
PEM = re.compile(r'"([\w-]+)\.pem"')
SECONDS = 60.0
pytestmark = pytest.mark.timeout(180)
"""Examples take a second or two; many machines are busier than this one."""
ECHO = """\
import vespiary

class Echo(vespiary.Handler):
    def on_message(self, connection, message):
        connection.send(message)

vespiary.serve(Echo(), {url!r}, framing={framing!r})
"""


@dataclass(frozen=True)
class Example:
    """A block of a document: where it stands, how it is tested, its name, and its text."""

    place: str
    kind: str
    proof: str
    name: str
    text: str


def examples(kind: str) -> list[Example]:
    found = []
    for path in DOCUMENTS:
        document = path.read_text()
        for block in BLOCK.finditer(document):
            line = document.count("\n", 0, block.start("text"))
            place = f"{path.relative_to(CHECKOUT)}:{line}"
            if block["kind"] == kind:
                proof = PROOF.fullmatch(block["proof"] or "")
                assert proof
                name = proof["name"] or "example.py"
                found.append(Example(place, kind, proof["how"], name, block["text"]))
    return found


PYTHON = examples("python")
SERVERS = [example for example in PYTHON if example.proof.startswith("serves")]
WITH_LOCKS = [example for example in PYTHON if example.proof.startswith("locks: ")]
PROGRAMS = [example for example in PYTHON if example.proof.startswith("runs")]
ASYNCIO = "pytest_asyncio.plugin"
PLUGINS = {"asyncio": ASYNCIO, "anyio": "anyio.pytest_plugin"}
"""The module of the plugin to which a mark belongs."""

TESTS = [example for example in PYTHON if example.proof.startswith("tests")]
OTHERS = [example for example in PYTHON if example.proof == "of another library"]
IMPORTED = [example for example in PYTHON if example.proof.startswith(("is imported", "changes "))]
COMMANDS = [
    (example.place, line.strip())
    for example in examples("sh")
    for line in example.text.splitlines()
    if line.strip().startswith("vespiary ")
]


def with_free_addresses(text: str, folder: Path) -> str:
    """The text with every port and socket path replaced by one that is free."""
    ports: dict[str, str] = {}

    def free(match: re.Match[str]) -> str:
        url = match[0]
        if url.startswith("unix:"):
            ports.setdefault(url, f"unix://{folder}/{len(ports)}.sock")
            return ports[url]
        front, _, port = url.rpartition(":")
        if port not in ports:
            ports[port] = str(free_port())
        return f"{front}:{ports[port]}"

    return URL.sub(free, text)


@contextlib.contextmanager
def running(program: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a server until the end of the block; it must then stop cleanly."""
    path = folder / f"program_{len(list(folder.iterdir()))}.py"
    path.write_text(program)
    process = subprocess.Popen(
        [sys.executable, str(path)], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert "Traceback" not in said, said


def make_certificates(program: str, folder: Path) -> None:
    """Make the PEM files that a program names: `x.pem` and `x-key.pem`, signed by `ca.pem`."""
    names = set(PEM.findall(program))
    if not names:
        return
    authority, authority_key = make_authority()
    for name in names:
        if name.endswith("ca"):
            (folder / f"{name}.pem").write_text(authority)
        elif not name.endswith("-key"):
            pair = make_certificate(authority_key, ["localhost", "127.0.0.1"], 30)
            for file, text in zip((name, f"{name}-key"), pair, strict=True):
                (folder / f"{file}.pem").write_text(text)
    (folder / "ca.pem").write_text(authority)


def connected(url: str, process: subprocess.Popen[str]) -> socket.socket:
    """A socket to the server, as soon as it listens."""
    parts = urlsplit(url)

    def attempt() -> socket.socket | None:
        assert process.poll() is None, process.communicate()[1]
        try:
            if parts.scheme == "unix":
                client = socket.socket(socket.AF_UNIX)
                client.settimeout(SECONDS)
                client.connect(parts.path)
                return client
            assert parts.port
            if parts.scheme == "udp":
                return bound_to(parts.port)
            return socket.create_connection(("127.0.0.1", parts.port), SECONDS)
        except (ConnectionRefusedError, FileNotFoundError):
            return None

    return wait_until(attempt, lambda: f"{url} does not listen")


def bound_to(port: int) -> socket.socket | None:
    """A socket for datagrams to a port, once a server has bound that."""
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        client.bind(("127.0.0.1", port))
    except OSError:
        client.close()
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(SECONDS)
        client.connect(("127.0.0.1", port))
        return client
    client.close()
    return None


async def exchange_over_websocket(
    url: str, client: socket.socket, pairs: list[tuple[object, object]], folder: Path
) -> None:
    """Not with the client for threads: over TLS one of these writes while another reads, and then
    its request is now and then not sent.
    """
    client.setblocking(False)
    trusting = None
    if url.startswith("wss:"):
        trusting = ssl.create_default_context(cafile=folder / "ca.pem")
    async with (
        asyncio.timeout(SECONDS),
        websockets.asyncio.client.connect(url, sock=client, ssl=trusting) as peer,
    ):
        for sent, answer in pairs:
            assert isinstance(sent, str | bytes)
            await peer.send(sent)
            assert await peer.recv() == answer


def exchange(
    url: str, client: socket.socket, pairs: list[tuple[object, object]], folder: Path
) -> None:
    """Send each message and compare the answer; streams carry a line per message."""
    if url.startswith(("ws:", "wss:")):
        asyncio.run(exchange_over_websocket(url, client, pairs, folder))
        return
    if url.startswith("udp:"):
        with client:
            for sent, answer in pairs:
                assert isinstance(sent, bytes)
                client.send(sent)
                assert client.recv(1 << 16) == answer
        return
    with client, client.makefile("rb") as stream:
        for sent, answer in pairs:
            data = sent.encode() if isinstance(sent, str) else sent
            assert isinstance(data, bytes)
            client.sendall(data + b"\n")
            assert stream.readline().rstrip(b"\r\n") == answer


def pairs_of(proof: str) -> list[tuple[object, object]]:
    pairs = []
    for pair in proof.partition(": ")[2].split("; "):
        sent, _, answer = pair.partition(" -> ")
        pairs.append((ast.literal_eval(sent), ast.literal_eval(answer)))
    return pairs


def test_there_are_examples_of_every_sort() -> None:
    assert len(SERVERS) >= 5
    assert PROGRAMS
    assert COMMANDS


@pytest.mark.parametrize("example", PYTHON, ids=lambda example: example.place)
def test_every_python_example_says_how_it_is_tested(example: Example) -> None:
    assert example in [*SERVERS, *PROGRAMS, *IMPORTED, *TESTS, *WITH_LOCKS, *OTHERS]
    ast.parse(example.text)


@pytest.mark.parametrize("example", SERVERS, ids=lambda example: example.place)
def test_a_server_in_the_documents_answers_as_they_say(example: Example, tmp_path: Path) -> None:
    program = with_free_addresses(example.text, tmp_path)
    url = URL.findall(program)[0]
    path = example.proof.partition(":")[0].removeprefix("serves").strip()
    make_certificates(program, tmp_path)
    with running(program, tmp_path) as process:
        exchange(url + path, connected(url, process), pairs_of(example.proof), tmp_path)


@pytest.mark.parametrize("example", PROGRAMS, ids=lambda example: example.place)
def test_a_program_in_the_documents_runs_to_its_end(example: Example, tmp_path: Path) -> None:
    program = with_free_addresses(example.text, tmp_path)
    make_certificates(program, tmp_path)
    with contextlib.ExitStack() as servers:
        if example.proof == "runs against: echo":
            for url in dict.fromkeys(URL.findall(program)):
                framing = None if url.startswith(("ws:", "http:")) else "line"
                echo = ECHO.format(url=url, framing=framing)
                connected(url, servers.enter_context(running(echo, tmp_path))).close()
        path = tmp_path / "example.py"
        path.write_text(program)
        subprocess.run([sys.executable, str(path)], cwd=tmp_path, check=True, timeout=SECONDS)


def part_of(node: ast.stmt) -> str:
    """What a top-level statement defines; of others, their first line."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return ast.unparse(node).splitlines()[0]


def parts_of(text: str) -> dict[str, str]:
    """The top-level statements of a program, by what they define."""
    lines = text.splitlines()
    return {
        part_of(node): "\n".join(lines[node.lineno - 1 : node.end_lineno])
        for node in ast.parse(text).body
    }


def whole(example: Example) -> str:
    """The program that a reader has who made the changes that an example shows.

    Statements that define the same replace each other; new ones come after the imports.
    """
    if not example.proof.startswith("changes "):
        return example.text
    document = example.proof.removeprefix("changes ")
    before = PYTHON[: PYTHON.index(example)] if f"/{document}:" in example.place else PYTHON
    changed = named_in(document, before)[example.name]
    base = parts_of(whole(changed))
    parts = base | parts_of(example.text)
    order = sorted(
        parts, key=lambda name: (not name.startswith(("import ", "from ")), name in base)
    )
    return "\n\n".join(parts[name] for name in order) + "\n"


def named_in(document: str, among: list[Example]) -> dict[str, Example]:
    """The programs of a document by their names, each as it is at the end."""
    return {
        example.name: example for example in among if example.place.startswith(f"docs/{document}:")
    }


def write_programs(document: str, folder: Path) -> None:
    """Write the named programs of a document, and those of the documents that they change."""
    programs = named_in(document, PYTHON)
    for example in PYTHON:
        if example.place.startswith(f"docs/{document}:") and example.proof.startswith("changes "):
            other = example.proof.removeprefix("changes ")
            if other != document:
                write_programs(other, folder)
    for name, example in programs.items():
        if not name.startswith("test_"):
            (folder / name).write_text(whole(example))


@pytest.mark.parametrize("example", IMPORTED, ids=lambda example: example.place)
def test_a_program_in_the_documents_can_be_imported(example: Example, tmp_path: Path) -> None:
    write_programs(example.place.removeprefix("docs/").partition(":")[0], tmp_path)
    (tmp_path / example.name).write_text(whole(example))
    command = [sys.executable, "-c", f"import {Path(example.name).stem}"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=SECONDS)


@pytest.mark.parametrize("example", TESTS, ids=lambda example: example.place)
def test_tests_in_the_documents_pass(example: Example, tmp_path: Path) -> None:
    document = example.proof.partition(" of ")[2]
    if document:
        write_programs(document, tmp_path)
    (tmp_path / "test_example.py").write_text(example.text)
    used = [PLUGINS[mark] for mark in PLUGINS if f"pytest.mark.{mark}" in example.text]
    settings = "asyncio_default_fixture_loop_scope = function\n"
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{settings * (ASYNCIO in used)}")
    done = subprocess.run(
        [*pytest_words(*OURS, *used), "-W", "error", str(tmp_path)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{example.text.count('def test_')} passed" in done.stdout


@pytest.mark.parametrize(("place", "line"), COMMANDS)
def test_a_command_in_the_documents_is_understood(place: str, line: str) -> None:
    words = shlex.split(line.partition(" #")[0])[1:]
    context = click.Context(main, info_name="vespiary")
    verb = main.get_command(context, words[0])
    assert verb is not None, place
    verb.make_context(words[0], words[1:], parent=context)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_every_relative_link_leads_to_a_file(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (document.parent / target).exists(), target
