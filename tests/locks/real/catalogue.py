"""Real programs of Debian, each with its preparations, its command and a load."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.addresses import free_port
from tests.locks.real import loads
from tests.locks.real.workplace import Room, do, listens

KNOWN = Path(__file__).parent / "known"
SYSTEM = ["/usr/bin", "/usr/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]


@dataclass(frozen=True)
class Program:
    """A real program.

    Attributes:
        name: What it is called.
        package: The Debian package that has it.
        executable: Its file's name.
        what: How it is set up, and what it is made to do.
        start: Prepares a room, and gives the command.
        load: Works on it for some seconds, and gives how much it did; None for a command that
            ends by itself.
        is_ready: Whether it serves.
    """

    name: str
    package: str
    executable: str
    what: str
    start: Callable[[Room], list[str]]
    load: Callable[[Room, float], int] | None = None
    is_ready: Callable[[Room], bool] = lambda room: listens(room.port)

    @property
    def path(self) -> str | None:
        """Where it is; None when it is not installed."""
        return find(self.executable)

    @property
    def known(self) -> Path | None:
        """The file of its explained findings, if there are any."""
        path = KNOWN / f"{self.name}.toml"
        return path if path.exists() else None


def find(executable: str) -> str | None:
    """A program of the system."""
    return shutil.which(executable, path=":".join(SYSTEM))


def tool(executable: str) -> str:
    """The same where it must be there."""
    path = find(executable)
    assert path is not None, f"{executable} is missing"
    return path


def _memcached(room: Room) -> list[str]:
    words = ["-u", "nobody", "-t", "4", "-m", "16", "-l", "127.0.0.1", "-p", str(room.port)]
    return [tool("memcached"), *words]


def _redis(room: Room) -> list[str]:
    words = ["--io-threads", "4", "--io-threads-do-reads", "yes", "--appendonly", "yes"]
    place = ["--dir", str(room.folder), "--bind", "127.0.0.1", "--port", str(room.port)]
    return [tool("redis-server"), *words, *place, "--lazyfree-lazy-user-del", "yes"]


NGINX = """
daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
thread_pool default threads=4;
http {{
    access_log {folder}/access.log; aio threads; directio 512; aio_write on;
    client_body_temp_path {folder}/body; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; proxy_temp_path {folder}/proxy;
    proxy_cache_path {folder}/cache keys_zone=all:1m;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    ssl_session_cache shared:tls:1m;
    server {{
        listen 127.0.0.1:{port}; listen unix:{folder}/tls ssl; root {folder}/www;
        location /again/ {{ proxy_pass http://127.0.0.1:{port}/; proxy_cache all; }}
    }}
    include {folder}/tls.conf;
}}
"""


def certificate(room: Room) -> None:
    """A key and a certificate of its own."""
    key, cert = str(room.folder / "key.pem"), str(room.folder / "cert.pem")
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    do(
        "openssl",
        "req",
        *kind,
        "-subj",
        "/CN=localhost",
        "-days",
        "2",
        "-keyout",
        key,
        "-out",
        cert,
    )


def _secure_port(room: Room) -> int:
    return int((room.folder / "tls.port").read_text())


def _nginx(room: Room) -> list[str]:
    certificate(room)
    port = room.write("tls.port", str(free_port())).read_text()
    tls = f"server {{{{ listen 127.0.0.1:{port} ssl; root {{folder}}/www; }}}}"
    room.write("tls.conf", tls)
    (room.folder / "www").mkdir()
    for number in range(20):
        room.write(f"www/{number}.html", "x" * 3000 * (number + 1))
    configuration = room.write("nginx.conf", NGINX)
    return [tool("nginx"), "-c", str(configuration), "-e", str(room.folder / "error.log")]


def _load_nginx(room: Room, seconds: float) -> int:
    paths = [f"/{number}.html" for number in range(20)] + ["/again/3.html?", "/nothing"]
    ask = functools.partial(loads.http, room.port, paths=paths, secure_port=_secure_port(room))
    done = ask(seconds / 2)
    do("kill", "-HUP", (room.folder / "pid").read_text().strip())
    return done + ask(seconds / 2)


def _postgres(room: Room) -> list[str]:
    data = room.folder / "data"
    data.mkdir()
    start: list[str | Path] = [
        "-D",
        data,
        "-A",
        "trust",
        "-U",
        "postgres",
        "--no-sync",
        "--locale=C",
    ]
    do(*room.as_user("postgres", data, tool("initdb"), *start), folder=room.folder)
    settings: dict[str, object] = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": data,
        "fsync": "off",
        "max_parallel_workers_per_gather": 2,
        "min_parallel_table_scan_size": 0,
        "parallel_setup_cost": 0,
        "parallel_tuple_cost": 0,
    }
    words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    command = ["-D", data, "-p", str(room.port), *words]
    return room.as_user("postgres", data, tool("postgres"), *map(str, command))


def _load_postgres(room: Room, seconds: float) -> int:
    at = ["-h", "127.0.0.1", "-p", str(room.port), "-U", "postgres", "postgres"]
    do(tool("pgbench"), "-i", "-q", "-s", "1", *at)
    half = str(max(1, round(seconds / 2)))
    query = room.write("sum.sql", "SELECT sum(abalance), count(*) FROM pgbench_accounts;\n")
    for words in (["-C"], ["-f", str(query)]):
        do(tool("pgbench"), "-n", "-c", "6", "-j", "2", "-T", half, *words, *at)
    count = do(tool("psql"), "-Atc", "SELECT count(*) FROM pgbench_history", *at)
    return int(count)


def _mariadb(room: Room) -> list[str]:
    data = room.folder / "data"
    data.mkdir()
    place = [f"--datadir={data}", "--user=mysql", "--no-defaults"]
    do(tool("mariadb-install-db"), place[2], *place[:2], "--auth-root-authentication-method=normal")
    shutil.chown(room.folder, "mysql")
    at = [f"--port={room.port}", f"--socket={room.folder}/socket", "--bind-address=127.0.0.1"]
    log = f"--general-log --slow-query-log --log-bin={data}/log --innodb-buffer-pool-size=32M"
    return [tool("mariadbd"), place[2], *place[:2], *at, *log.split()]


def _load_mariadb(room: Room, seconds: float) -> int:
    at = ["--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", f"-P{room.port}", "-uroot"]
    queries = max(100, round(seconds * 200))
    words = ["--auto-generate-sql", "--auto-generate-sql-load-type=mixed", "--iterations=2"]
    engine = ["--engine=innodb,aria", f"--number-of-queries={queries}", "--concurrency=6"]
    columns = [
        "--number-int-cols=3",
        "--number-char-cols=3",
        "--auto-generate-sql-add-autoincrement",
    ]
    do(tool("mariadb-slap"), *at, *words, *engine, *columns)
    statements = (
        "SHOW PROCESSLIST; SHOW ENGINE INNODB STATUS; FLUSH TABLES; SHOW STATUS; FLUSH LOGS"
    )
    do(tool("mariadb"), *at, "-e", statements)
    return queries * 4


PROGRAMS = [
    Program(
        "memcached",
        "memcached",
        "memcached",
        "4 workers, 16 MB: set, get, delete of 10 B to 100 kB, evictions, crawls, statistics",
        _memcached,
        lambda room, seconds: loads.memcached(room.port, seconds),
    ),
    Program(
        "redis",
        "redis-server",
        "redis-server",
        "4 I/O threads, append-only file: pipelines, scripts, background saves, lazy freeing",
        _redis,
        lambda room, seconds: loads.redis(room.port, seconds),
    ),
    Program(
        "nginx",
        "nginx-light",
        "nginx",
        "2 workers, pools of 4 threads, TLS, a cache, itself as upstream, a reload amid the load",
        _nginx,
        _load_nginx,
    ),
    Program(
        "postgresql",
        "postgresql",
        "postgres",
        "pgbench: a connection a transaction, then parallel queries; every process of the server",
        _postgres,
        _load_postgres,
    ),
    Program(
        "mariadb",
        "mariadb-server",
        "mariadbd",
        "mixed statements of 6 clients on InnoDB and Aria, logs on and flushed, status asked for",
        _mariadb,
        _load_mariadb,
    ),
]
"""Servers; the first four are run in every test run."""
