"""`python -m benches.system_calls`: what a message costs outside a server's own code.

For a server and a scenario it prints, per message: the system calls by name (strace), the CPU time
in the program and in the kernel (procfs), and where in the kernel and the program that time goes
(perf, by sampling). In S3, one message at a time, nearly all of it is the kernel's.

strace slows a server down, so that it has a run of its own, and so has perf; the times come from a
run without either.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from benches.catalogue import Server, servers
from benches.load_client import LoadError, Order, Report, run
from benches.measurement import ServerError, running
from benches.provision import CACHE, Toolbox, provide, say
from benches.scenarios import BY_NAME, Scenario

SECONDS = 2.0
PLACES = 14
"""Lines of the profile that are shown."""
SETTLE_SECONDS = 0.5
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

Result = TypeVar("Result")


def _exchange(url: str, scenario: Scenario, toolbox: Toolbox) -> Report:
    order = Order(url, scenario.connections, scenario.size, scenario.pipeline, SECONDS)
    return run(toolbox.load, order)


def _beside(command: Sequence[str], act: Callable[[], Result]) -> Result:
    """Do something while a tool watches the server; the tool is interrupted afterwards."""
    tool = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(SETTLE_SECONDS)
        return act()
    finally:
        tool.send_signal(signal.SIGINT)
        tool.wait(30)


def times(process: int) -> tuple[float, float]:
    """Microseconds that a process has spent in its own code and in the kernel."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    user, system = (int(word) * 1e6 / TICKS_PER_SECOND for word in words[11:13])
    return user, system


def calls(text: str, messages: int) -> list[tuple[float, str]]:
    """Calls per message from what `strace -c` writes, the most frequent first."""
    found = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", text, re.MULTILINE)
    rows = [(int(count) / messages, name) for count, name in found if name != "total"]
    return sorted((row for row in rows if row[0] >= 0.01), reverse=True)


def places(text: str) -> list[tuple[float, str]]:
    """Shares of the time, and the functions, from what `perf report` writes."""
    found = re.findall(r"^ *([\d.]+)% +(\S+) +\[[k.]\] (.+?)(?:  .*)?$", text, re.MULTILINE)
    return [
        (float(share), f"{symbol.split('<')[0] or symbol[:60]} in {image.strip('[]')}")
        for share, image, symbol in found
    ]


def profile(server: Server, scenario: Scenario, toolbox: Toolbox) -> str:
    """What a server's messages cost, as text.

    Raises:
        ServerError: The server did not start or ended early.
        LoadError: The load client failed.
    """
    record, counts = CACHE / "perf.data", CACHE / "strace.txt"
    with running(server, toolbox) as (process, url):
        _exchange(url, scenario, toolbox)
        before = times(process)
        report = _exchange(url, scenario, toolbox)
        user, system = (
            (now - then) / report.messages for now, then in zip(times(process), before, strict=True)
        )
        watch = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "4999", "-p", str(process)]
        _beside([*watch, "-o", str(record)], lambda: _exchange(url, scenario, toolbox))
        trace = ["strace", "-c", "-f", "-p", str(process), "-o", str(counts)]
        traced = _beside(trace, lambda: _exchange(url, scenario, toolbox))
    report_command = ["perf", "report", "--stdio", "--sort", "dso,symbol", "-i", str(record)]
    shown = subprocess.run(report_command, capture_output=True, text=True, check=False).stdout
    lines = [f"{server.key}: {user:.1f} us in the program, {system:.1f} us in the kernel"]
    per_message = (
        f"{count:.2f} {name}" for count, name in calls(counts.read_text(), traced.messages)
    )
    lines.append("    calls: " + ", ".join(per_message))
    lines += [f"    {share:5.1f} %  {place}" for share, place in places(shown)[:PLACES]]
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Profile; the exit status is 1 if a server could not be."""
    parser = argparse.ArgumentParser(prog="python -m benches.system_calls", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="TEXT")
    parser.add_argument("--scenario", default="S3", choices=list(BY_NAME))
    parser.add_argument("--load-client", type=Path)
    options = parser.parse_args(words)
    for tool in ("perf", "strace"):
        if shutil.which(tool) is None:
            say(f"benches: {tool} is not installed: apt-get install linux-perf strace")
            return 2
    texts = options.only or ["ws/vespiary, callback", "Bun", "Beast"]
    chosen = [one for one in servers() if any(text in one.key for text in texts)]
    toolbox = provide(chosen, options.load_client)
    failed = False
    for server in chosen:
        try:
            if server.key in toolbox.missing:
                raise ServerError(toolbox.missing[server.key])
            print(profile(server, BY_NAME[options.scenario], toolbox), flush=True)
        except (ServerError, LoadError, OSError, subprocess.SubprocessError) as error:
            failed = True
            print(f"{server.key}: FAILED: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
