"""A server with workers that does what its clients ask for.

    worker_program.py URL COUNT [NAME=VALUE]...

The names are those of `vespiary.Workers`. It prints one line for each `on_start` and `on_stop`.
"""

import asyncio
import ctypes
import errno
import itertools
import os
import sys
from ast import literal_eval
from pathlib import Path

import vespiary

BROKEN = Path(os.environ.get("BROKEN", "/nonexistent"))
"""While this file exists, `on_start` fails."""


def fail_to_fork(number: int) -> None:
    """Let the fork with this number fail, as it does where the system has no more processes."""
    forks, fork = itertools.count(1), os.fork

    def fork_or_fail() -> int:
        if next(forks) == number:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    os.fork = fork_or_fail


def say(line: str) -> None:
    """Write a line with one system call: other processes write to the same pipe."""
    os.write(1, f"{line}\n".encode())


def is_broken(worker: int | None) -> bool:
    return os.environ.get("FAIL_START") == str(worker) or BROKEN.exists()


class Program(vespiary.Handler):
    async def on_start(self, server: vespiary.Server) -> None:
        await asyncio.sleep(0)
        self.server = server
        self.kept: list[bytes] = []
        say(f"started {server.worker} {os.getpid()}")
        if is_broken(server.worker):
            raise RuntimeError("the database is not there")

    def on_stop(self, server: vespiary.Server) -> None:
        say(f"stopped {server.worker} {os.getpid()}")

    def on_open(self, connection: vespiary.Connection) -> None:
        connection.subscribe("all")

    def on_shutdown(self, connection: vespiary.Connection) -> None:
        if not os.environ.get("STAY_OPEN"):
            connection.close(1001, "")

    def on_message(self, connection: vespiary.Connection, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.server.publish("all", message)
            return
        command, _, rest = message.partition(" ")
        if command == "who":
            connection.send(f"{self.server.worker} {os.getpid()}")
        elif command == "publish":
            self.server.publish("all", rest)
        elif command == "id":
            connection.send(self.server.connection_id(connection))
        elif command == "send_to":
            connection_id, _, text = rest.partition(" ")
            connection.send(f"sent {self.server.send_to(connection_id, text)}")
        elif command == "retain":
            self.server.publish("state", rest, retain=True)
        elif command == "discard":
            self.server.discard_retained("state")
        elif command == "retained":
            connection.send(str(self.server.retained("state")))
        elif command == "enter":
            self.server.enter(connection, "room", rest)
        elif command == "present":
            connection.send(" ".join(member.info for member in self.server.presence("room")))
        elif command == "count":
            statistics = self.server.statistics()
            total = statistics.total
            workers = [
                (one.number, one.process, one.processes_started, one.total.messages_received)
                for one in statistics.workers
            ]
            numbers = (total.messages_received, total.connections_accepted, total.connections_open)
            refused = dict(total.connections_refused)
            connection.send(repr((numbers, total.connections_broken, workers, refused)))
        elif command == "spread":
            shares = [
                one.total.handshakes_pending + one.total.connections_open
                for one in self.server.statistics().workers
            ]
            connection.send(" ".join(map(str, shares)))
        elif command == "hang":
            ctypes.PyDLL(None).sleep(3600)  # Holds the GIL.
        elif command == "grow":
            self.kept.append(b"x" * (int(rest) << 20))
        elif command == "exit":
            os._exit(int(rest))
        elif command == "break":
            BROKEN.touch()
        elif command == "stop":
            self.server.stop_soon()
        else:
            connection.send(message)


if __name__ == "__main__":
    _, url, count, *settings = sys.argv
    options = {
        name: literal_eval(value) for name, _, value in (one.partition("=") for one in settings)
    }
    if "FAIL_FORK" in os.environ:
        fail_to_fork(int(os.environ["FAIL_FORK"]))
    server = vespiary.Server()
    server.add(Program(), url)
    server.run(workers=vespiary.Workers(int(count), **options))
    total = server.statistics().total
    print(f"in all {total.messages_received} {total.connections_accepted}", flush=True)
