"""`python -m benches.instructions`: instructions a server spends on each message, by callgrind.

Instructions do not depend on what else the machine does, so that a change of one in a hundred can
be seen from a single run. Only the program's own are counted, not the kernel's. A server runs under
callgrind and gets two loads, one of few messages and one of many; the difference, divided by the
further messages, is free of the costs of opening connections. Before them another load warms it up.
callgrind_control reads the counter between the loads: a signal that ends the server would reach a
program that waits in io_uring_enter(2) late, after work that nobody asked for.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benches.catalogue import Server, servers
from benches.choices.__main__ import BASE, VARIANTS, build
from benches.measurement import ServerError, await_ready, free_port
from benches.provision import Toolbox, provide, say
from benches.scenarios import BY_NAME, Scenario

CONNECTIONS = 10
MESSAGES = {"S1": (500, 4500), "S2": (500, 4500), "S4": (20, 220), "S5": (500, 4500)}
"""Messages on each connection, under the shorter and the longer load; fewer where there are more
connections."""
SECONDS_MAX = 120.0
CLOSING_SECONDS = 0.5
"""How long a server may take to close the connections of a load that is over."""


class CountError(Exception):
    """callgrind, the server or the load client failed."""


def native(program: Path) -> list[Server]:
    """The engine without Python, on both drivers."""
    return [
        Server(
            name=f"engine, {driver}",
            transport="ws",
            kind="ours",
            command=(str(program), "ws", "{port}", *VARIANTS[variant][0].split()),
        )
        for driver, variant in (("uring", BASE), ("epoll", "epoll"))
    ]


def _load(
    server: Server,
    scenario: Scenario,
    toolbox: Toolbox,
    port: int,
    connections: int,
    messages: int,
) -> list[str]:
    return [
        *(str(toolbox.load), f"{server.transport}://127.0.0.1:{port}/"),
        *(f"connections={connections}", f"messages={messages}", f"size={scenario.size}"),
        *(f"pipeline={scenario.pipeline}", "timeout=60", "json=1"),
    ]


def _run(load: Sequence[str]) -> None:
    done = subprocess.run(load, capture_output=True, text=True, timeout=SECONDS_MAX)
    if done.returncode != 0:
        raise CountError((done.stdout or done.stderr).strip()[-300:])


def counted(process: subprocess.Popen[bytes], profile: Path, number: int) -> int:
    """Instructions since the last call; this is call `number`, from 1 on."""
    dump = ["callgrind_control", "--dump", str(process.pid)]
    done = subprocess.run(dump, capture_output=True, text=True, timeout=SECONDS_MAX)
    path = profile.with_name(f"{profile.name}.{number}")
    text = path.read_text() if path.exists() else ""
    found = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
    if found is None:
        output = (done.stdout + done.stderr).strip()
        raise CountError(f"callgrind printed no total: {output[-300:]}")
    return int(found.group(1))


def count(
    server: Server, scenario: Scenario, toolbox: Toolbox, connections: int = CONNECTIONS
) -> float:
    """Instructions for each message.

    Raises:
        CountError: It could not be counted.
        ServerError: The server did not start.
    """
    port = free_port()
    divisor = max(connections, CONNECTIONS)
    few, many = (number * CONNECTIONS // divisor for number in MESSAGES[scenario.name])
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "callgrind.out"
        command = [
            *("valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}"),
            *(f"--log-file={profile.with_suffix('.log')}", "--"),
            *(toolbox.fill(word, port) for word in server.command),
        ]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=toolbox.environment(server),
            start_new_session=True,
        )
        try:
            # Nobody can connect to a server of datagrams; it says when it is ready.
            announces = server.transport == "udp"
            await_ready(process, port, announces, seconds_max=SECONDS_MAX)
            counts = []
            for number, messages in enumerate((few, few, many), start=1):
                _run(_load(server, scenario, toolbox, port, connections, messages))
                time.sleep(CLOSING_SECONDS)
                counts.append(counted(process, profile, number))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    _, shorter, longer = counts
    return (longer - shorter) / (connections * (many - few))


def main(words: Sequence[str] | None = None) -> int:
    """Count; the exit status is 1 if a server could not be counted."""
    parser = argparse.ArgumentParser(prog="python -m benches.instructions", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="TEXT",
        help="servers whose name holds this text (default: the engine alone)",
    )
    parser.add_argument("--scenario", action="append", default=[], choices=list(MESSAGES))
    parser.add_argument("--connections", type=int, default=CONNECTIONS, metavar="N")
    parser.add_argument("--load-client", type=Path)
    options = parser.parse_args(words)
    if shutil.which("valgrind") is None:
        say("benches: valgrind is not installed: apt-get install valgrind")
        return 2
    everything = [*native(build()), *servers()]
    texts = options.only or ["engine"]
    chosen = [one for one in everything if any(text in one.key for text in texts)]
    toolbox = provide(chosen, options.load_client)
    failed = False
    for server in chosen:
        if server.key in toolbox.missing:
            say(f"    missing: {server.key}: {toolbox.missing[server.key]}")
            continue
        for name in options.scenario or list(MESSAGES):
            try:
                each = count(server, BY_NAME[name], toolbox, options.connections)
            except (CountError, ServerError, subprocess.TimeoutExpired, OSError) as error:
                failed = True
                print(f"{name}  {server.key:36s}  FAILED: {error}", flush=True)
                continue
            print(f"{name}  {server.key:36s}  {each:8.0f} instructions a message", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
