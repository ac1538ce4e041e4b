"""`python -m benches.choices`: what the design's choices are worth, on the bare engine.

Each variant differs from the engine as it is shipped in one thing. The engine runs without Python,
in a small native echo server, so that nothing blurs the difference.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benches.catalogue import HERE, Server, Transport
from benches.outcome import Outcome
from benches.provision import CACHE, provide, say
from benches.scenarios import BY_NAME, ECHO
from benches.session import Plan, enough_cores, enough_descriptors, perform

PROGRAM = HERE / "choices" / "engine_echo"
BASE = "as shipped"
BASES: Mapping[Transport, str] = {"ws": f"ws/{BASE}"}

SMALL = frozenset({"S1", "S2"})
VARIANTS: Mapping[str, tuple[str, frozenset[str]]] = {
    BASE: ("", frozenset()),
    "epoll": ("driver=epoll", frozenset()),
    "epoll, nothing inline": ("driver=epoll inline=0", frozenset()),
    "uring, nothing inline": ("inline=0", frozenset()),
    "nothing gathered": ("gather=0", SMALL),
    "epoll, nothing gathered": ("driver=epoll gather=0", SMALL),
    "ring of 512 x 4 KiB": ("buffers=512 buffer_bytes=4096", frozenset()),
    "ring of 512 x 16 KiB": ("buffers=512 buffer_bytes=16384", frozenset()),
    "ring of 64 x 16 KiB": ("buffers=64 buffer_bytes=16384", frozenset()),
    "ring of 64 x 64 KiB": ("buffers=64 buffer_bytes=65536", frozenset()),
    "ring of 16 x 64 KiB": ("buffers=16 buffer_bytes=65536", frozenset()),
    "ring of 32 x 128 KiB": ("buffers=32 buffer_bytes=131072", frozenset()),
    "ring of 16 x 256 KiB": ("buffers=16 buffer_bytes=262144", frozenset()),
    "epoll, reads of 16 KiB": ("driver=epoll epoll_buffer_bytes=16384", frozenset({"S4", "S5"})),
    "epoll, reads of 128 KiB": ("driver=epoll epoll_buffer_bytes=131072", frozenset({"S4", "S5"})),
    "epoll, reads of 256 KiB": ("driver=epoll epoll_buffer_bytes=262144", frozenset({"S4", "S5"})),
    "reading pauses above 64 KiB": ("write_high=65536", frozenset({"S4"})),
    "reading pauses above 256 KiB": ("write_high=262144", frozenset({"S4"})),
    "sends after 64 KiB": ("round_bytes=65536", frozenset({"S4", "S5"})),
    "spin of 50 us": ("spin=50", frozenset({"S3"})),
    "spin of 200 us": ("spin=200", frozenset({"S3"})),
}


def build() -> Path:
    """Build the native echo server.

    Raises:
        SystemExit: cargo failed; its last line says why.
    """
    say("==> Building the native echo server")
    target = Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target"))
    done = subprocess.run(
        ["cargo", "build", "--release", "--locked", "--target-dir", str(target)],
        cwd=PROGRAM,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"benches: {done.stderr.strip().splitlines()[-1]}")
    return target / "release" / "engine-echo"


def variants(program: Path) -> list[Server]:
    """The native echo server, once for each variant."""
    return [
        Server(
            name=name,
            transport="ws",
            kind="ours" if name == BASE else "other",
            command=(str(program), "ws", "{port}", *switches.split()),
            scenarios=scenarios,
        )
        for name, (switches, scenarios) in VARIANTS.items()
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Measure the variants; the exit status is 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m benches.choices", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--scenario", action="append", default=[], choices=list(BY_NAME))
    parser.add_argument("--only", action="append", default=[], metavar="TEXT")
    parser.add_argument("--load-client", type=Path)
    parser.add_argument("--name", default="")
    options = parser.parse_args(words)
    scenarios = [one for one in ECHO if not options.scenario or one.name in options.scenario]
    if not enough_cores() or not enough_descriptors(scenarios):
        say("benches: two cores and 2,000 open files are needed")
        return 2
    chosen = [
        server
        for server in variants(build())
        if server.name == BASE
        or not options.only
        or any(text in server.name for text in options.only)
    ]
    toolbox = provide(chosen, options.load_client)
    plan = Plan(chosen, scenarios, options.repeats, options.seconds, random.randrange(1 << 30))
    results = perform(plan, toolbox)
    outcome = Outcome("The design's choices", plan, chosen, toolbox, results, BASES)
    path = outcome.write(options.name or time.strftime("choices-%Y-%m-%d-%H%M"))
    print(path.read_text())
    return 1 if any(result.error for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
