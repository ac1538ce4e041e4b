"""`python -m benches.timers`: memory and processor time of many timers, and how late they fire.

Timers of a server are set to random moments within the next hour, moved to others, and half of them
are cancelled; once without their `Timer` objects, to see what the engine needs for each.
Then others are set within the next seconds, while callbacks keep the loop busy for a part of the
time, and each notes how late it fires.
"""

import argparse
import asyncio
import functools
import multiprocessing
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


class Meter:
    """Processor time and memory since its start."""

    def __init__(self) -> None:
        self.memory, self.began = resident_bytes(), time.process_time()

    def show(self, what: str, count: int) -> None:
        """Print what each of so many took."""
        took = time.process_time() - self.began
        grown = resident_bytes() - self.memory
        print(f"{what} {count:,}: {took / count * 1e6:.2f} µs and {grown / count:.0f} bytes each")


async def weigh(count: int, *, is_kept: bool) -> None:
    """Set so many timers, move them, cancel half of them, and print what that takes.

    Without the `Timer` objects what is measured is what the engine has: the callback is one for
    all. The objects are 48 bytes each, beside the list's 8.
    """
    server = vespiary.Server(signals=False)
    server.add(vespiary.Handler(), "tcp://127.0.0.1:0")
    choose = random.Random(1)
    async with server:
        moments = [choose.uniform(600, 3600) for _ in range(count)]
        timers: list[vespiary.Timer | None] = [None] * count
        meter = Meter()
        for place, moment in enumerate(moments):
            timer = server.set_timer(moment, nothing)
            if is_kept:
                timers[place] = timer
        meter.show("set, their objects kept," if is_kept else "set", count)
        if not is_kept:
            return
        meter = Meter()
        for timer, moment in zip(timers, reversed(moments), strict=True):
            if timer is not None:
                timer.update(moment)
        meter.show("moved", count)
        meter = Meter()
        for timer in timers[::2]:
            if timer is not None:
                timer.cancel()
        meter.show("cancelled", count // 2)


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
    timers = server.statistics().timers
    print(f"fired {count:,} in {seconds:g} s, the loop busy for {busy:.0%}: late by", *shown)
    print(f"  the earliest {late[0] * 1e3:.2f} ms; processor time {took:.2f} s")
    print(
        f"  by statistics(): {timers.late_seconds_mean * 1e3:.2f} ms on average, at most"
        f" {timers.late_seconds_max * 1e3:.2f} ms"
    )


def _weigh(count: int, is_kept: bool) -> None:
    vespiary.run(weigh(count, is_kept=is_kept))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=1_000_000, help="timers that wait")
    parser.add_argument("--fired", type=int, default=100_000, help="timers that fire")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="within which they fire, after a wait as long"
    )
    chosen = parser.parse_args()
    # A process of its own for each: freed memory would be used again.
    for is_kept in (False, True):
        child = multiprocessing.get_context("spawn").Process(
            target=_weigh, args=(chosen.count, is_kept)
        )
        child.start()
        child.join()
    for busy in (0.0, 0.5):
        vespiary.run(fire(chosen.fired, chosen.seconds, busy))


if __name__ == "__main__":
    main()
