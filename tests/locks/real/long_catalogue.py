"""More real programs, for the long form: servers, and commands that work with many threads."""

from __future__ import annotations

import functools
import http.server
import random
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.addresses import free_port
from tests.locks.real import loads
from tests.locks.real.catalogue import Program, tool
from tests.locks.real.workplace import Room, do


class _Page(http.server.BaseHTTPRequestHandler):
    """Answers each path with a page of its own."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode() * 200
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextmanager
def upstream(port: int) -> Iterator[None]:
    """A web server of our own, for those that ask one."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


def _varnish(room: Room) -> list[str]:
    room.write("upstream.port", str(free_port()))
    back = (room.folder / "upstream.port").read_text()
    at = ["-a", f"127.0.0.1:{room.port}", "-b", f"127.0.0.1:{back}", "-n", f"{room.folder}/work"]
    return [tool("varnishd"), "-F", "-j", "none", *at, "-s", "malloc,8m", "-p", "thread_pools=2"]


def _load_varnish(room: Room, seconds: float) -> int:
    with upstream(int((room.folder / "upstream.port").read_text())):
        paths = [f"/page{number}" for number in range(50)] + ["/new?"]
        done = loads.http(room.port, seconds / 2, paths)
        do(tool("varnishadm"), "-n", room.folder / "work", "ban", "req.url ~ page1")
        return done + loads.http(room.port, seconds / 2, paths)


UNBOUND = """
server:
    interface: 127.0.0.1
    port: {port}
    num-threads: 4
    so-reuseport: yes
    do-daemonize: no
    use-syslog: no
    chroot: ""
    username: ""
    directory: "{folder}"
    pidfile: "{folder}/pid"
    local-zone: "example." redirect
    local-data: "example. 1 A 192.0.2.1"
remote-control:
    control-enable: no
"""


def _unbound(room: Room) -> list[str]:
    return [tool("unbound"), "-d", "-c", str(room.write("unbound.conf", UNBOUND))]


NAMED = """
options {{
    directory "{folder}"; pid-file none; session-keyfile none; recursion no; dnssec-validation no;
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
}};
controls {{ }};
zone "example" {{ type primary; file "{folder}/zone"; }};
"""
ZONE = """$TTL 60
@ SOA ns.example. admin.example. 1 60 60 60 60
@ NS ns
@ A 192.0.2.1
* A 192.0.2.1
"""


def _named(room: Room) -> list[str]:
    room.write("zone", ZONE)
    return [tool("named"), "-g", "-n", "4", "-c", str(room.write("named.conf", NAMED))]


HAPROXY = """
global
    nbthread 4
defaults
    mode http
    timeout connect 10s
    timeout client 10s
    timeout server 10s
frontend all
    bind 127.0.0.1:{port}
    default_backend pages
backend pages
    server one 127.0.0.1:{back}
"""


def _haproxy(room: Room) -> list[str]:
    back = room.write("upstream.port", str(free_port())).read_text()
    text = HAPROXY.replace("{back}", back)
    return [tool("haproxy"), "-db", "-f", str(room.write("haproxy.cfg", text))]


def _load_haproxy(room: Room, seconds: float) -> int:
    with upstream(int((room.folder / "upstream.port").read_text())):
        return loads.http(room.port, seconds, [f"/page{number}" for number in range(50)])


def _answers(room: Room) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
        stream.settimeout(0.2)
        stream.connect(("127.0.0.1", room.port))
        try:
            stream.send(b"\0\1\1\0\0\1\0\0\0\0\0\0\7example\0\0\1\0\1")
            return bool(stream.recv(512))
        except OSError:
            return False


def _pages(room: Room) -> list[str]:
    for number in range(20):
        room.write(f"{number}.html", "x" * 3000)
    return [f"/{number}.html" for number in range(20)]


def _http_server(room: Room) -> list[str]:
    _pages(room)
    return [sys.executable, "-m", "http.server", "-b", "127.0.0.1", str(room.port)]


def _load_pages(room: Room, seconds: float) -> int:
    return loads.http(room.port, seconds, [f"/{number}.html" for number in range(20)])


GUNICORN = """
import threading
lock, count = threading.Lock(), 0

def app(environ, start_response):
    global count
    with lock:
        count += 1
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def _gunicorn(kind: str, room: Room) -> list[str]:
    """From the package index, into an environment of its own."""
    do(sys.executable, "-m", "venv", room.folder / "venv")
    python = room.folder / "venv/bin/python"
    do(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "gunicorn==23.0.0")
    (room.folder / "site.py").unlink(missing_ok=True)
    (room.folder / "page.py").write_text(GUNICORN)
    limits = ["--max-requests", "300", "--max-requests-jitter", "50", "--graceful-timeout", "5"]
    at = ["-b", f"127.0.0.1:{room.port}", "--chdir", str(room.folder)]
    return [str(python), "-m", "gunicorn", *kind.split(), *limits, *at, "page:app"]


def _load_gunicorn(room: Room, seconds: float) -> int:
    return loads.http(room.port, seconds, ["/"], patient=True)


def _text(room: Room, megabytes: int) -> str:
    """A file that compresses, but not to nothing."""
    chance = random.Random(1)
    words = [chance.randbytes(6).hex() for _ in range(5000)]
    with (room.folder / "text").open("w") as file:
        for _ in range(megabytes * 80):
            file.write(" ".join(chance.choices(words, k=1000)))
    return str(room.folder / "text")


def _compress(name: str, options: str, room: Room) -> list[str]:
    return [tool(name), *options.split(), _text(room, 24)]


def _ffmpeg(room: Room) -> list[str]:
    source = ["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30:duration=8"]
    sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=8"]
    filters = ["-filter_complex", "[0:v]split[a][b];[a]hflip[c];[b][c]vstack,scale=480:540"]
    codec = ["-c:v", "libx264", "-threads", "6", "-preset", "veryfast", "-c:a", "aac"]
    quiet = ["-y", "-loglevel", "error", "-nostdin"]
    return [tool("ffmpeg"), *quiet, *source, *sound, *filters, *codec, f"{room.folder}/out.mp4"]


DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" office:version="1.2"
 office:mimetype="application/vnd.oasis.opendocument.text"><office:body><office:text>{}
</office:text></office:body></office:document>
"""


def _libreoffice(room: Room) -> list[str]:
    """The text that comes out is compared with the one that went in."""
    lines = [f"Chapter {number} of many, in a document of its own" for number in range(200)]
    (room.folder / "expected").write_text("\n".join(lines) + "\n")
    paragraphs = "".join(f"<text:p>{line}</text:p>" for line in lines)
    (room.folder / "text.fodt").write_text(DOCUMENT.format(paragraphs))
    rows = (f"{number},{number * number},=A{number}+B{number}" for number in range(1, 1000))
    (room.folder / "table.csv").write_text("\n".join(rows))
    profile = f"-env:UserInstallation=file://{room.folder}/profile"
    office = f"{tool('soffice')} {profile} --headless --convert-to"
    steps = [
        f"cd {room.folder}",
        f"{office} pdf text.fodt table.csv",
        "test -s text.pdf -a -s table.pdf",
        f"{office} txt:Text text.fodt",
        "sed '1s/^\\xEF\\xBB\\xBF//' text.txt | cmp - expected",
    ]
    return ["sh", "-c", " && ".join(steps)]


def _git(room: Room) -> list[str]:
    text = _text(room, 8)
    repository = room.folder / "repository"
    do("git", "init", "-q", repository)
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    lines = Path(text).read_text().split(" ")
    for number in range(60):
        part = "\n".join(lines[number * 2000 : (number + 3) * 2000])
        (repository / f"file{number % 20}").write_text(part)
        do("git", "-C", repository, "add", "-A")
        do("git", "-C", repository, *who, "commit", "-q", "-m", f"{number}")
    settings = ["-c", "pack.threads=6", "-c", "index.threads=4", "-c", "grep.threads=4"]
    git = f"git {' '.join(settings)}"
    script = f"{git} repack -adfq && {git} grep -c a >/dev/null && {git} fsck --no-progress"
    return ["sh", "-c", f"cd {repository} && {script}"]


SQLITE = """
import sqlite3, sys, threading
path, count = sys.argv[1], int(sys.argv[2])
sqlite3.connect(path).execute("PRAGMA journal_mode=WAL").connection.execute(
    "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
shared = sqlite3.connect(path, check_same_thread=False, timeout=30)
def work(number):
    own = sqlite3.connect(path, timeout=30)
    for step in range(count):
        with own:
            own.execute("INSERT INTO t (b) VALUES (?)", (f"{number} {step}",))
        shared.execute("SELECT count(*), max(b) FROM t").fetchone()
    own.close()
threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert shared.execute("SELECT count(*) FROM t").fetchone()[0] == 6 * count
shared.close()
"""


def _sqlite(room: Room) -> list[str]:
    script = room.folder / "script.py"
    script.write_text(SQLITE)
    return [sys.executable, str(script), str(room.folder / "database"), "100"]


PERL = """
use threads; use threads::shared; use Thread::Queue;
my $queue = Thread::Queue->new(); my $sum :shared = 0;
my @threads = map { threads->create(sub {
    while (defined(my $item = $queue->dequeue())) { lock($sum); $sum += $item; }
}) } 1 .. 4;
$queue->enqueue($_) for 1 .. 3000; $queue->end(); $_->join() for @threads;
$sum == 4501500 or die "wrong: $sum";
"""


def _perl(room: Room) -> list[str]:
    (room.folder / "script.pl").write_text(PERL)
    return [tool("perl"), str(room.folder / "script.pl")]


def _gdb(room: Room) -> list[str]:
    commands = ["-ex", "break main", "-ex", "run", "-ex", "bt", "-ex", "info functions sort"]
    return [tool("gdb"), "-q", "-batch", *commands, "/bin/true"]


def _chromium(room: Room) -> list[str]:
    page = room.folder / "page.html"
    page.write_text(
        "<canvas id=c></canvas><script>let n=0;for(;n<1e6;n++);"
        "new Worker(URL.createObjectURL(new Blob(['postMessage(1)']))).onmessage="
        "e=>document.title='done'</script>"
    )
    words = ["--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
    return [tool("chromium-headless-shell"), *words, page.as_uri()]


MORE = [
    Program(
        "varnish",
        "varnish",
        "varnishd",
        "2 pools of threads before a server of ours: hits, misses, expiry, a ban amid the load",
        _varnish,
        _load_varnish,
    ),
    Program(
        "unbound",
        "unbound",
        "unbound",
        "4 threads answer from a local zone",
        _unbound,
        lambda room, seconds: loads.dns(room.port, seconds),
        _answers,
    ),
    Program(
        "bind",
        "bind9",
        "named",
        "4 threads answer from a zone of their own",
        _named,
        lambda room, seconds: loads.dns(room.port, seconds),
        _answers,
    ),
    Program(
        "haproxy",
        "haproxy",
        "haproxy",
        "4 threads before a server of ours",
        _haproxy,
        _load_haproxy,
    ),
    Program(
        "http.server",
        "python3",
        "python3",
        "a thread for each connection",
        _http_server,
        _load_pages,
    ),
    Program(
        "gunicorn-threads",
        "python3",
        "python3",
        "2 workers of 4 threads, each restarted by the master after some 300 requests",
        functools.partial(_gunicorn, "-w 2 -k gthread --threads 4"),
        _load_gunicorn,
    ),
    Program(
        "gunicorn-prefork",
        "python3",
        "python3",
        "3 workers, each restarted by the master after some 300 requests",
        functools.partial(_gunicorn, "-w 3 -k sync --preload"),
        _load_gunicorn,
    ),
    Program(
        "xz",
        "xz-utils",
        "xz",
        "24 MB by 6 threads",
        functools.partial(_compress, "xz", "-k -T6 -1 --block-size=1MiB"),
    ),
    Program(
        "pigz",
        "pigz",
        "pigz",
        "24 MB by 6 threads",
        functools.partial(_compress, "pigz", "-k -p 6"),
    ),
    Program(
        "zstd",
        "zstd",
        "zstd",
        "24 MB by 6 threads",
        functools.partial(_compress, "zstd", "-q -k -T6 -12"),
    ),
    Program(
        "ffmpeg",
        "ffmpeg",
        "ffmpeg",
        "8 s of video and sound through filters to x264 and AAC",
        _ffmpeg,
    ),
    Program(
        "libreoffice",
        "libreoffice-writer-nogui libreoffice-calc-nogui",
        "soffice",
        "a text and a table to PDF, and the text to plain text, which is compared",
        _libreoffice,
    ),
    Program("git", "git", "git", "repack, grep and fsck with 4 to 6 threads", _git),
    Program(
        "sqlite",
        "python3",
        "python3",
        "6 threads with connections of their own and a shared",
        _sqlite,
    ),
    Program("perl", "perl", "perl", "4 interpreter threads on a shared queue", _perl),
    Program(
        "gdb", "gdb", "gdb", "its own threads read symbols; a program is run to a breakpoint", _gdb
    ),
    Program(
        "chromium",
        "chromium-headless-shell",
        "chromium-headless-shell",
        "a page with a script and a worker, in its many processes",
        _chromium,
    ),
]
"""Those that only the long form runs."""
