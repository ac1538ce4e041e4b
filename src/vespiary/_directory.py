"""Connections that are found by an id, in this process or, with workers, in another.

An id has three parts: the slot of the worker's process, a random number of this run of the server,
and a number of the connection. So one that outlives its process, or its server, finds nothing, and
not somebody else's connection. A connection has none until it is asked for.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import weakref

from vespiary._core import Connection

__all__ = ["Directory", "run_in", "slot_in"]


class Directory:
    """The connections of one run of a server that have an id; for any thread.

    Args:
        run: What all ids of this run have in common; default: a random number.

    Attributes:
        run: The same.
    """

    def __init__(self, run: str | None = None) -> None:
        self.run = run or secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        # The engine has the connection until its end.
        self._ids: weakref.WeakKeyDictionary[Connection, str] = weakref.WeakKeyDictionary()
        self._connections: weakref.WeakValueDictionary[str, Connection] = (
            weakref.WeakValueDictionary()
        )

    def id_of(self, connection: Connection, slot: int) -> str:
        """Return a connection's id, made when it is asked for first.

        Raises:
            TypeError: it is not a connection.
        """
        if not isinstance(connection, Connection):
            raise TypeError(f"connection_id() takes a Connection; got {connection!r}")
        with self._lock:
            found = self._ids.get(connection)
            if found is None:
                found = f"{slot}.{self.run}.{next(self._numbers)}"
                self._ids[connection] = found
                self._connections[found] = connection
            return found

    def find(self, connection_id: str) -> Connection | None:
        """Return the connection with an id; None where it has ended or is not of this process."""
        with self._lock:
            return self._connections.get(connection_id)


def run_in(connection_id: str) -> str:
    """Return which run of a server an id is of."""
    return connection_id.split(".")[1]


def slot_in(connection_id: object) -> int:
    """Return which worker an id is of.

    Raises:
        ValueError: it is not an id.
    """
    if isinstance(connection_id, str) and connection_id.count(".") == 2:
        slot = connection_id.partition(".")[0]
        if slot.isascii() and slot.isdigit():
            return int(slot)
    raise ValueError(
        f"{connection_id!r} is not the id of a connection: send_to() takes what"
        " server.connection_id(connection) has returned, in this worker or another"
    )
