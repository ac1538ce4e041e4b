"""`python -m benches.instructions`: instructions a server spends on each message, by callgrind.

Instructions do not depend on the machine's mood, so that a change of one in a hundred can be seen
from a single run. Only the program's own are counted, not the kernel's. A server is run twice under
callgrind, with few messages and with many; the difference, divided by the further messages, is
free of the costs of starting and of opening connections.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benches.catalogue import Server, servers
from benches.choices.__main__ import BASE, VARIANTS, build
from benches.measurement import ServerError, await_ready, free_port
from benches.provision import CACHE, Toolbox, provide, say
from benches.scenarios import BY_NAME, Scenario

CONNECTIONS = 10
MESSAGES = {"S1": (500, 4500), "S2": (500, 4500), "S4": (20, 220), "S5": (500, 4500)}
"""Messages on each connection, in the shorter and in the longer run of a scenario."""
SECONDS_MAX = 120.0
END_SECONDS_MAX = 20.0


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
    server: Server, scenario: Scenario, toolbox: Toolbox, port: int, messages: int
) -> list[str]:
    return [
        *(str(toolbox.load), f"{server.transport}://127.0.0.1:{port}/"),
        *(f"connections={CONNECTIONS}", f"messages={messages}", f"size={scenario.size}"),
        *(f"pipeline={scenario.pipeline}", "timeout=60", "json=1"),
    ]


def _total(server: Server, scenario: Scenario, toolbox: Toolbox, messages: int) -> int:
    """Instructions of a whole run with so many messages on each connection."""
    port = free_port()
    profile = CACHE / "callgrind.out"
    log = CACHE / "callgrind.log"
    command = [
        *("valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}"),
        *(f"--log-file={log}", "--"),
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
        await_ready(process, port, announces=False, seconds_max=SECONDS_MAX)
        load = _load(server, scenario, toolbox, port, messages)
        done = subprocess.run(load, capture_output=True, text=True, timeout=SECONDS_MAX)
        if done.returncode != 0:
            raise CountError((done.stdout or done.stderr).strip()[-300:])
    finally:
        _end(process, _load(server, scenario, toolbox, port, MESSAGES[scenario.name][0]))
    found = re.search(r"Collected : (\d+)", log.read_text())
    if found is None:
        raise CountError(f"callgrind told no total; see {log}")
    return int(found.group(1))


def _end(process: subprocess.Popen[bytes], load: Sequence[str]) -> None:
    """End it by a signal that callgrind can write its total after.

    While the program waits in io_uring_enter(2) callgrind looks for signals only every 100,000
    blocks of code, so it is kept busy until it has gone. That blurs the total by less than 1 %.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS_MAX
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(load, capture_output=True, timeout=2)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def count(server: Server, scenario: Scenario, toolbox: Toolbox) -> float:
    """Instructions for each message.

    Raises:
        CountError: It could not be counted.
        ServerError: The server did not start.
    """
    few, many = MESSAGES[scenario.name]
    shorter = _total(server, scenario, toolbox, few)
    time.sleep(0.1)
    longer = _total(server, scenario, toolbox, many)
    return (longer - shorter) / (CONNECTIONS * (many - few))


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
                each = count(server, BY_NAME[name], toolbox)
            except (CountError, ServerError, subprocess.TimeoutExpired, OSError) as error:
                failed = True
                print(f"{name}  {server.key:36s}  FAILED: {error}", flush=True)
                continue
            print(f"{name}  {server.key:36s}  {each:8.0f} instructions a message", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
