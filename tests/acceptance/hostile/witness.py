"""The well-behaved connection beside an attack: one echo every few milliseconds, timed.

    python -S -E -m tests.acceptance.hostile.witness URL

It is a process of its own, so that the attacker's work does not delay its measurements. It measures
alone, until it reads a line from its standard input; then beside the attack, until it reads another
one. It prints `ready` after the first hundred echoes, and at the end the milliseconds that each
echo took, as a JSON array for each of the two.
"""

import json
import select
import sys
import time

from tests.acceptance.hostile.peer import CLOSE, Peer, frame

PAUSE_SECONDS = 0.001
SAMPLES_MIN = 100


def measure(peer: Peer, tell: bool) -> list[float]:
    """Milliseconds of each echo, until a line comes and there are enough of them."""
    taken: list[float] = []
    told_to_end = False
    while not told_to_end or len(taken) < SAMPLES_MIN:
        began = time.perf_counter()
        peer.echo(b"%032d" % len(taken))
        taken.append((time.perf_counter() - began) * 1000)
        if tell and len(taken) == SAMPLES_MIN:
            print("ready", flush=True)
        if not told_to_end:
            readable, _, _ = select.select([sys.stdin], [], [], PAUSE_SECONDS)
            if readable:
                sys.stdin.readline()
                told_to_end = True
        else:
            time.sleep(PAUSE_SECONDS)
    return taken


def main() -> None:
    """Measure twice."""
    with Peer(sys.argv[1]) as peer:
        peer.upgrade()
        alone = measure(peer, True)
        beside = measure(peer, False)
        peer.send(frame(CLOSE, b"\x03\xe8"))
        peer.end()
    print(json.dumps([alone, beside]), flush=True)


if __name__ == "__main__":
    main()
