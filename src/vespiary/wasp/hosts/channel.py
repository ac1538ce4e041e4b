"""Messages between the server and the processes of a plug-in, over a pair of sockets.

The server has one end. The keeper and the plug-in's process, which the keeper forks, share the
other one: both write to it, and only the plug-in's process reads from it. The sockets keep messages
whole (SOCK_SEQPACKET, unix(7)). A message that does not fit into the queue is lost, because neither
side may wait for the other. So a long one, such as a list of connections, is put in a file in
memory, and only its descriptor is sent.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

__all__ = ["Channel"]

_BYTES_MAX = 16 << 10
"""A longer message goes through a file: several of this size fit into the queue."""
_MESSAGES_A_TURN_MAX = 64


class Channel:
    """One end.

    Args:
        end: The socket.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """The end of this process, and the one for another."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    def fileno(self) -> int:
        """The descriptor, which is readable when a message has come."""
        return self._end.fileno()

    def send(self, message: dict[str, Any]) -> bool:
        """Send a message; False if it was lost."""
        data = json.dumps(message).encode()
        files = []
        try:
            if len(data) > _BYTES_MAX:
                files.append(os.memfd_create("vespiary-answer"))
                with open(files[0], "wb", closefd=False) as file:
                    file.write(data)
                data = b"\n"
            socket.send_fds(self._end, [data], files)
        except OSError:
            return False
        finally:
            for one in files:
                os.close(one)
        return True

    def received(self) -> Iterator[dict[str, Any] | None]:
        """The messages that have come; None at the end of the stream."""
        for _ in range(_MESSAGES_A_TURN_MAX):
            files: list[int] = []
            try:
                data, files, _, _ = socket.recv_fds(self._end, _BYTES_MAX, 1)
                for one in files:
                    data = os.pread(one, os.fstat(one).st_size, 0)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            finally:
                for one in files:
                    os.close(one)
            yield json.loads(data) if data else None
            if not data:
                return

    def close(self) -> None:
        """Close this end."""
        self._end.close()
