"""Measure the CPU time of serving files, beside nginx.

    python -m benches.static
    python -m benches.static --repeats 5 --kib 64 --kib 102400

Each repeat measures every server with every size, in a random order. The server runs on core 0 and
the client on core 1. nginx has one worker, `sendfile on` and no access log; Vespiary serves the
same folder with `StaticFiles`.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benches.asgi.__main__ import CHECKOUT, cpu, free_port, wait_serving
from benches.asgi.client import Traffic, exchange
from benches.clocks import family

SERVERS = ("vespiary-uring", "vespiary-epoll", "nginx")
SIZES_KIB = (1, 64, 1024, 102400)
_NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    server {{ listen 127.0.0.1:{port}; root {files}; }}
}}
"""
_OURS = """\
import sys, vespiary
limits = vespiary.Limits(requests_per_connection_max=None)
files = vespiary.StaticFiles(sys.argv[1])
vespiary.serve(files, f"http://127.0.0.1:{sys.argv[2]}", driver=sys.argv[3], limits=limits)
"""


@contextlib.contextmanager
def started(server: str, folder: Path) -> Iterator[tuple[int, list[int]]]:
    """Run a server; its port and its processes."""
    port, files = free_port(), folder / "files"
    if server == "nginx":
        settings = folder / "nginx.conf"
        settings.write_text(_NGINX.format(folder=folder, port=port, files=files))
        command = ["nginx", "-p", str(folder), "-c", str(settings)]
    else:
        driver = server.rpartition("-")[2]
        command = [sys.executable, "-c", _OURS, str(files), str(port), driver]
    process = subprocess.Popen(
        ["taskset", "-c", "0", *command], cwd=CHECKOUT, stderr=subprocess.DEVNULL
    )
    try:
        if not wait_serving(port, process):
            raise SystemExit(f"{server} does not start")
        yield port, family(process.pid)
    finally:
        process.terminate()
        process.wait()


def measure(server: str, kib: int, folder: Path, seconds: float) -> float:
    """Microseconds of CPU time per response."""
    request = b"GET /%d HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\n\r\n" % kib
    traffic = Traffic(request, connections=2 if kib > 10_000 else 20)
    with started(server, folder) as (port, processes):
        exchange(port, traffic, seconds / 4)
        before = cpu(processes)
        count = exchange(port, traffic, seconds)
        return (cpu(processes) - before) / max(count, 1) / 1000


def main() -> None:
    """Measure, and print a table of microseconds per response."""
    parser = argparse.ArgumentParser(prog="python -m benches.static", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--kib", type=int, action="append")
    options = parser.parse_args()
    sizes = options.kib or SIZES_KIB
    found: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        # nginx's worker is another user.
        folder.chmod(0o755)
        (folder / "files").mkdir()
        for kib in sizes:
            (folder / "files" / str(kib)).write_bytes(bytes(kib << 10))
        for _ in range(options.repeats):
            pairs = [(server, kib) for server in SERVERS for kib in sizes]
            random.shuffle(pairs)
            for server, kib in pairs:
                figure = measure(server, kib, folder, options.seconds)
                found.setdefault((server, kib), []).append(figure)
    print("Microseconds of the server's CPU time per response, medians, and ratios to nginx:\n")
    print("| KiB | " + " | ".join(SERVERS) + " | ratio of io_uring | ratio of epoll |")
    print("|---:|" + "---:|" * (len(SERVERS) + 2))
    for kib in sizes:
        medians = [statistics.median(found[server, kib]) for server in SERVERS]
        ratios = [
            statistics.median(
                own / other
                for own, other in zip(found[server, kib], found["nginx", kib], strict=True)
            )
            for server in SERVERS[:2]
        ]
        cells = [f"{it:,.1f}" for it in medians] + [f"{it:.2f}" for it in ratios]
        print(f"| {kib:,} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
