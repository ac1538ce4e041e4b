"""`python -m benches.timers`: memory and processor time of many timers, and how late they fire.

Timers of a server are set to random moments within the next hour, and half of them are cancelled.
Then others are set within the next seconds, while callbacks keep the loop busy for a part of the
time, and each notes how late it fires.
"""

import argparse
import asyncio
import functools
import random
import resource
import time
from pathlib import Path

import vespiary

PARTS = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))


def resident_bytes() -> int:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def nothing() -> None:
    """What a timer calls."""


async def weigh(count: int) -> None:
    """Set so many timers, cancel half of them, and print what that takes."""
    server = vespiary.Server(signals=False)
    server.add(vespiary.Handler(), "tcp://127.0.0.1:0")
    choose = random.Random(1)
    async with server:
        moments = [choose.uniform(600, 3600) for _ in range(count)]
        timers: list[vespiary.Timer | None] = [None] * count
        memory, began = resident_bytes(), time.process_time()
        for place, moment in enumerate(moments):
            timers[place] = server.set_timer(moment, nothing)
        took = time.process_time() - began
        grown = resident_bytes() - memory
        print(f"set {count:,}: {took / count * 1e6:.2f} µs and {grown / count:.0f} bytes each")
        began = time.process_time()
        for timer in timers[::2]:
            if timer is not None:
                timer.cancel()
        took = time.process_time() - began
        print(f"cancelled half of them: {took / (count / 2) * 1e6:.2f} µs each")


async def fire(count: int, seconds: float, busy: float) -> None:
    """Fire so many timers and print how late they are."""
    server = vespiary.Server(signals=False)
    server.add(vespiary.Handler(), "tcp://127.0.0.1:0")
    choose = random.Random(2)
    late: list[float] = []
    is_over = False

    def note(due: float) -> None:
        late.append(time.monotonic() - due)

    def work() -> None:
        # The loop is busy for this part of each ten milliseconds.
        end = time.monotonic() + busy * 0.01
        while time.monotonic() < end:
            pass
        if not is_over:
            server.set_timer(0.01 * (1 - busy), work)

    async with server:
        work()
        began = time.process_time()
        for _ in range(count):
            wait = choose.uniform(seconds, 2 * seconds)
            due = time.monotonic() + wait
            server.set_timer(wait, functools.partial(note, due))
        while len(late) < count:  # noqa: ASYNC110 - The timers are what is measured.
            await asyncio.sleep(0.05)
        is_over = True
        took = time.process_time() - began
    late.sort()
    shown = [f"{name} {late[int(count * part)] * 1e3:.2f} ms" for name, part in PARTS]
    print(f"fired {count:,} in {seconds:g} s, the loop busy for {busy:.0%}: late by", *shown)
    print(f"  the earliest {late[0] * 1e3:.2f} ms; processor time {took:.2f} s")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=1_000_000, help="timers that wait")
    parser.add_argument("--fired", type=int, default=100_000, help="timers that fire")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="within which they fire, after a wait as long"
    )
    chosen = parser.parse_args()
    vespiary.run(weigh(chosen.count))
    for busy in (0.0, 0.5):
        vespiary.run(fire(chosen.fired, chosen.seconds, busy))


if __name__ == "__main__":
    main()
