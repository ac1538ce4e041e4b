"""A key-value store: a text protocol on TCP with one command per line.

    set KEY VALUE   ->  OK
    get KEY         ->  VALUE, or NONE
    delete KEY      ->  1, or 0 if there was no such key
    keys            ->  the keys, sorted
    quit            ->  BYE, and the end of the connection

Run:   .venv/bin/python examples/key_value_server.py [URL...]      (default tcp://127.0.0.1:6380)
Talk:  nc 127.0.0.1 6380
"""

import sys

import vespiary

KEYS_MAX = 100_000


class KeyValueServer(vespiary.Handler[bytes]):
    """One store for all connections; everything runs on one thread, so it needs no lock."""

    def __init__(self) -> None:
        self.store: dict[bytes, bytes] = {}

    def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
        """Answer a command."""
        answer = self.answer(*message.split(maxsplit=2))
        connection.send(answer)
        if answer == b"BYE":
            connection.close()

    def answer(self, command: bytes = b"", key: bytes = b"", value: bytes = b"") -> bytes:
        """Return the answer to a command."""
        match command.lower():
            case b"set" if key and value:
                if len(self.store) >= KEYS_MAX and key not in self.store:
                    return b"ERROR the store is full"
                self.store[key] = value
                return b"OK"
            case b"get" if key:
                return self.store.get(key, b"NONE")
            case b"delete" if key:
                return b"0" if self.store.pop(key, None) is None else b"1"
            case b"keys":
                return b" ".join(sorted(self.store))
            case b"quit":
                return b"BYE"
            case _:
                return b"ERROR commands: set KEY VALUE, get KEY, delete KEY, keys, quit"


if __name__ == "__main__":
    limits = vespiary.Limits(message_bytes_max=64 << 10)
    urls = sys.argv[1:] or ["tcp://127.0.0.1:6380"]
    vespiary.serve(KeyValueServer(), *urls, framing="line", limits=limits)
