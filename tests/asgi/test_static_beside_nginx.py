"""Files served by nginx and by Vespiary, asked for with the same generated requests.

nginx answers four kinds of requests in another way than RFC 9110 has it, so they are not generated:
HEAD with `Range` (206, where section 14.2 defines ranges for GET alone), a range of an empty file
(200, where section 15.5.17 has 416), ranges that are malformed or whose end is before their begin
(416, where section 14.2 lets them be ignored), and
`If-Match` together with `If-Unmodified-Since`, or `If-None-Match` with `If-Modified-Since` (both
have to be true, where section 13.2.2 does not look at the second).
"""

import asyncio
import os
import random
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import vespiary
from tests.waiting import wait_until

from .kit import HTTP, Client, Reply, connected, serving

REQUESTS = 400
OLD = 1_700_000_000
SIZES = {"a.txt": 5, "none.txt": 0, "page.html": 1000, "large.bin": 300_000}
TARGETS = (*(f"/{name}" for name in SIZES), "/", "/sub", "/sub/", "/empty/x", "/%61.txt", "/no")
DATES = (
    "Tue, 14 Nov 2023 22:13:19 GMT",
    "Tue, 14 Nov 2023 22:13:20 GMT",
    "Tue, 14 Nov 2023 22:13:21 GMT",
)
TAGS = ('"x"', "{etag}", '"x", {etag}', "*")
CONFIGURATION = """\
daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;
events {{}}
http {{
    types {{ text/html html; application/octet-stream bin; text/plain txt; }}
    access_log off; if_modified_since before; max_ranges 16;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{ listen 127.0.0.1:{port}; root {root}; absolute_redirect off; }}
}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with files."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    draw = random.Random(1)
    for name, size in {**SIZES, "index.html": 10, "sub/index.html": 20}.items():
        (root / name).write_bytes(draw.randbytes(size))
        os.utime(root / name, (OLD, OLD))
    for path in (tmp_path.parent, tmp_path, root, root / "sub"):
        path.chmod(0o755)
    return root


@pytest.fixture
def nginx(root: Path, tmp_path: Path) -> Iterator[int]:
    """The port of an nginx."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed: make system-deps")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "conf").write_text(CONFIGURATION.format(folder=tmp_path, port=port, root=root))
    process = subprocess.Popen([program, "-p", str(tmp_path), "-c", "conf"])

    def answers() -> bool:
        assert process.poll() is None, (tmp_path / "log").read_text()
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers, lambda: "nginx does not listen")
    yield port
    process.terminate()
    process.wait()


def ranges(draw: random.Random) -> str:
    """A well-formed range of a file, or several."""

    def one() -> str:
        first = draw.choice((0, 1, 4, 5, 100, 999, 1000, 200_000, 400_000))
        last = first + draw.choice((0, 1, 4, 1000, 10**6))
        return draw.choice((f"{first}-{last}", f"{first}-", f"-{last}", f"-{first}"))

    return "bytes=" + ",".join(one() for _ in range(draw.choice((1, 1, 1, 2, 3, 5))))


def generated(seed: int) -> tuple[str, str, dict[str, str]]:
    """A method, a target and header fields, in which `{etag}` is the tag of the file."""
    draw = random.Random(seed)
    method = draw.choice(("GET", "GET", "GET", "HEAD"))
    fields = {}
    if method == "GET" and draw.random() < 0.6:
        fields["Range"] = ranges(draw)
        if draw.random() < 0.4:
            fields["If-Range"] = draw.choice((*TAGS[:2], *DATES))
    for names in (("If-Match", "If-Unmodified-Since"), ("If-None-Match", "If-Modified-Since")):
        if draw.random() < 0.3:
            name = draw.choice(names)
            fields[name] = draw.choice(TAGS if name.endswith("Match") else DATES)
    targets = [name for name in TARGETS if "Range" not in fields or name != "/none.txt"]
    return method, draw.choice(targets), fields


def request(method: str, target: str, fields: dict[str, str], etag: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: a"]
    lines += [f"{name}: {value.replace('{etag}', etag)}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def seen(reply: Reply) -> tuple[object, ...]:
    """What has to be equal."""
    fields = {name: value.decode() for name, value in reply.headers}
    if reply.status not in (200, 206):
        content = fields.get(b"content-range")
        place = re.sub("^http://[^/]*", "", fields.get(b"location", ""))
        return reply.status, content, place
    body: object = reply.body
    length: object = fields[b"content-length"]
    kind = fields.get(b"content-type", "")
    if kind.startswith("multipart/byteranges"):
        limit = f"--{kind.partition('boundary=')[2]}".encode()
        parts = reply.body.split(limit)
        found = [part.strip(b"\r\n").partition(b"\r\n\r\n") for part in parts[1:-1]]
        body = [
            (re.findall(rb"(?i)content-range: (.*)", head), len(content))
            for head, _, content in found
        ]
        kind = length = "parts"
    return (
        reply.status,
        length,
        kind.removesuffix("; charset=utf-8"),
        fields.get(b"content-range"),
        fields[b"last-modified"],
        body,
    )


async def asked(client: Client, number: int, etags: dict[str, str]) -> Reply:
    method, target, fields = generated(number)
    if target not in etags:
        found = dict((await client.ask("GET", target)).headers).get(b"etag", b"-")
        etags[target] = found.decode()
    client.send(request(method, target, fields, etags[target]))
    return await client.reply(method)


async def test_both_answer_alike(root: Path, nginx: int) -> None:
    async with (
        serving(vespiary.StaticFiles(root), HTTP) as server,
        connected(server) as ours,
    ):
        our_tags: dict[str, str] = {}
        their_tags: dict[str, str] = {}
        statuses: set[int] = set()
        for number in range(REQUESTS):
            # nginx closes its connection after some responses.
            theirs = Client(*await asyncio.open_connection("127.0.0.1", nginx))
            one = await asked(ours, number, our_tags)
            other = await asked(theirs, number, their_tags)
            theirs.writer.transport.abort()
            assert seen(one) == seen(other), generated(number)
            statuses.add(one.status)
    assert statuses == {200, 206, 301, 304, 404, 412, 416}
