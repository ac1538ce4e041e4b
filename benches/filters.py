"""`python -m benches.filters`: what an empty filter in Python costs, per batch of bytes.

A server and its client share a process and a loop. The client has one message in flight, so that
each echo is a batch received and a batch sent at the server. The processor time of many echoes is
measured without a filter and with one, two and four that pass everything on, in turns, and the
least of the rounds counts.
"""

import argparse
import time

import vespiary

COUNTS = (0, 1, 2, 4)


class Echo(vespiary.Handler):
    """Sends every message back."""

    def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
        """Send it back."""
        connection.send(message)


async def seconds(filters: int, size: int, messages: int) -> float:
    """Processor time of so many echoes, with so many filters."""
    server = vespiary.Server(signals=False)
    server.add(Echo(), "tcp://127.0.0.1:0", filters=[vespiary.Filter] * filters)
    message = bytes(size)
    async with server, vespiary.connect(server.urls[0]) as client:
        for warm in (True, False):
            began = time.process_time()
            for _ in range(messages // 10 if warm else messages):
                client.send(message)
                received = 0
                while received < size:
                    received += len(await client.receive())
    return time.process_time() - began


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, nargs="+", default=[32, 1024, 65_536])
    chosen = parser.parse_args()
    print("| bytes | filters | µs per echo | µs per filter and batch |")
    print("|---:|---:|---:|---:|")
    for size in chosen.size:
        best = dict.fromkeys(COUNTS, float("inf"))
        for _ in range(chosen.rounds):
            for count in COUNTS:
                took = vespiary.run(seconds(count, size, chosen.messages))
                best[count] = min(best[count], took / chosen.messages * 1e6)
        for count in COUNTS:
            each = (best[count] - best[0]) / (2 * count) if count else 0.0
            print(f"| {size} | {count} | {best[count]:.2f} | {each:.2f} |")


if __name__ == "__main__":
    main()
