"""Hand the listening sockets of a process to another one, which serves in its place.

Two kinds of processes take over sockets: the next generation of workers at a reload (see
`generations`), and a new program at an upgrade. Both get the sockets over a Unix socket pair
(SCM_RIGHTS, unix(7)), and send `serving` back. Until then the old process serves, and whatever goes
wrong in the new one changes nothing.

**Upgrade.** At SIGUSR2 the process starts its own command line again, so that a newer version of
the program, of its packages or of Python takes over. The new process is not a fork: it shares
nothing with the old one but the sockets, the environment and the working directory. When it serves,
the old one stops gracefully, and ends when its connections have. A connect is never refused: both
accept from the same sockets, and nobody closes them between.

systemd is notified of the new main process by the old one (MAINPID), the only one that it believes
at that moment, and from then on by the new one.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from vespiary._counted import counted
from vespiary._listening import ListeningAddress
from vespiary._listening_sockets import BoundSocket, remove_socket_file
from vespiary.errors import VespiaryError
from vespiary.wasp.systemd import notify, reloading
from vespiary.workers._processes import open_pidfd, send_signal, told_status

__all__ = [
    "Held",
    "Predecessor",
    "Successor",
    "UpgradeFailed",
    "adopt",
    "receive_sockets",
    "send_address",
]

logger = logging.getLogger("vespiary.wasp")

_VARIABLE = "VESPIARY_UPGRADE"
"""The environment variable with the descriptor of the socket to the old process."""
_BYTES_MAX = 1 << 16
_SOCKETS_MAX = 250
"""How many descriptors one message may carry (SCM_MAX_FD is 253)."""
_COMPLETE = b'"complete"'
_SERVING = b'"serving"'


@dataclass(slots=True, eq=False)
class Held:
    """A listening address whose sockets a process keeps for another one.

    Attributes:
        keys: The endpoints that it is for, by name and URL.
        sockets: Copies of its sockets.
        file: The file of a Unix socket, with its device and inode.
    """

    keys: frozenset[str]
    sockets: list[socket.socket] = field(default_factory=list)
    file: tuple[str, int, int] | None = None

    @classmethod
    def received(cls, message: Mapping[str, object], descriptors: Iterable[int]) -> Self:
        """What `send_address` has sent."""
        keys, file = message["keys"], message["file"]
        assert isinstance(keys, list)
        sockets = [socket.socket(fileno=number) for number in descriptors]
        return cls(frozenset(keys), sockets, tuple(file) if isinstance(file, list) else None)

    def close(self) -> None:
        """Close the copies."""
        for one in self.sockets:
            one.close()

    def remove_file(self) -> None:
        """Remove the file of a Unix socket."""
        if self.file is not None:
            remove_socket_file(*self.file)


def adopt(addresses: Iterable[tuple[ListeningAddress, frozenset[str]]], held: list[Held]) -> None:
    """Let addresses listen on the sockets that another process has bound for them."""
    for address, keys in addresses:
        found = next((one for one in held if one.keys & keys), None)
        if found is not None:
            address.adopt([BoundSocket(one.dup()) for one in found.sockets], found.file)


def send_address(
    control: socket.socket,
    keys: frozenset[str],
    file: tuple[str, int, int] | None,
    sockets: Sequence[socket.socket],
) -> None:
    """Send the sockets of an address to the process at the other end."""
    message = {"keys": sorted(keys), "file": file}
    numbers = [one.fileno() for one in sockets]
    socket.send_fds(control, [json.dumps(message).encode()], numbers)


def receive_sockets(control: socket.socket) -> tuple[bytes, list[int]]:
    """A message, and the descriptors that came with it, which no other program inherits."""
    flags = socket.MSG_CMSG_CLOEXEC
    data, descriptors, _, _ = socket.recv_fds(control, _BYTES_MAX, _SOCKETS_MAX, flags)
    return data, descriptors


class UpgradeFailed(VespiaryError):
    """The new process has ended before it served; the old one continues."""


class Successor:
    """The process that is started to take the place of this one.

    Args:
        held: The sockets that it gets.
        passed: The descriptors that a service manager has passed to this process, by name.

    Raises:
        OSError: it cannot be started, or not take over so many addresses.
    """

    def __init__(self, held: Sequence[Held], passed: Mapping[str, Sequence[int]]) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reloading()
        try:
            with theirs:
                theirs.set_inheritable(True)
                self.pid = _start_program(theirs.fileno())
            self.pidfd = open_pidfd(self.pid)
        except BaseException:
            self.control.close()
            notify("READY=1")
            raise
        self.control.setblocking(False)
        self._is_over = False
        logger.info("Upgrading: the new program starts as process %d", self.pid)
        try:
            self._send(held, passed)
        except BlockingIOError:
            # Nothing waits for it here, because the server serves meanwhile.
            self.cancel()
            self.close()
            notify("READY=1")
            many = counted(len(held), "address", "addresses")
            text = f"{many} are too many to be handed over: restart the server instead"
            raise OSError(errno.EMSGSIZE, text) from None
        except OSError:
            pass  # It has ended already: its pidfd says so.

    def _send(self, held: Sequence[Held], passed: Mapping[str, Sequence[int]]) -> None:
        for one in held:
            send_address(self.control, one.keys, one.file, one.sockets)
        for name, numbers in passed.items():
            message = json.dumps({"passed": name}).encode()
            socket.send_fds(self.control, [message], numbers)
        self.control.send(_COMPLETE)

    def serves(self) -> bool:
        """Return whether it serves; call this when `control` or `pidfd` is readable.

        Raises:
            UpgradeFailed: it has ended before.
        """
        with contextlib.suppress(OSError):
            if self.control.recv(_BYTES_MAX) == _SERVING:
                self._is_over = True
                logger.info("Upgraded: process %d serves, and this one drains", self.pid)
                notify(f"MAINPID={self.pid}", "READY=1")
                # From now on the service manager hears from the new process.
                os.environ.pop("NOTIFY_SOCKET", None)
                return True
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return False
        self._is_over = True
        notify("READY=1")
        raise UpgradeFailed(
            f"the program was not upgraded: the new process {self.pid}"
            f" {told_status(status)} before it served; its log says why. The old process continues"
        )

    def cancel(self) -> None:
        """End the process if it does not serve yet, and collect it."""
        if self._is_over:
            return
        self._is_over = True
        send_signal(self.pidfd, signal.SIGTERM)

    def close(self) -> None:
        """Close the descriptors for it."""
        self.control.close()
        os.close(self.pidfd)


def _start_program(control: int) -> int:
    """Start the command line of this process again, and return the process id."""
    environment = dict(os.environ, **{_VARIABLE: str(control)})
    # The new process is the one that must be notifying.
    environment.pop("WATCHDOG_PID", None)
    return os.posix_spawn(
        sys.executable,
        [sys.executable, *sys.orig_argv[1:]],
        environment,
        setsigmask=[],
        setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2],
    )


class Predecessor:
    """The process whose place this one takes, and what it has sent."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self.held: list[Held] = []
        self.passed: dict[str, list[int]] = {}
        while True:
            data, descriptors = receive_sockets(control)
            if data == _COMPLETE:
                return
            if not data:
                raise ConnectionError("the process that started the upgrade has ended")
            message = json.loads(data)
            if "passed" in message:
                self.passed[message["passed"]] = list(descriptors)
            else:
                self.held.append(Held.received(message, descriptors))

    @classmethod
    def from_environment(cls) -> Self | None:
        """The process that has started this one for an upgrade; None if none has.

        Raises:
            OSError: it has ended.
        """
        number = os.environ.pop(_VARIABLE, None)
        if number is None:
            return None
        try:
            control = socket.socket(fileno=int(number))
        except (OSError, ValueError):
            logger.warning("Ignoring %s=%s, which is not a socket", _VARIABLE, number)
            return None
        control.set_inheritable(False)
        return cls(control)

    def serves(self) -> None:
        """Report that this process serves: the other one stops."""
        with contextlib.suppress(OSError):
            self._control.send(_SERVING)

    def has_ended(self) -> bool:
        """Return whether the other process has ended, and close what leads to it then."""
        try:
            is_there = bool(self._control.recv(_BYTES_MAX, socket.MSG_DONTWAIT))
        except BlockingIOError:
            is_there = True
        except OSError:
            is_there = False
        if not is_there:
            self._control.close()
        return not is_there
