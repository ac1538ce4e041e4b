"""A host as the runner sees it: connected, kept alive, sent cells, reported when it is lost."""

from __future__ import annotations

import json
import pickle
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from vespiary.errors import ConfigurationError
from vespiary.prove.acceptance.hosts import agent
from vespiary.prove.acceptance.hosts.shipping import Cargo
from vespiary.prove.acceptance.outcome import Result
from vespiary.prove.acceptance.plan import Plan
from vespiary.prove.acceptance.sites import Ended, keep
from vespiary.prove.acceptance.suite import Host
from vespiary.prove.folders import Held

__all__ = ["Remote"]

_ALIVE_SECONDS: Final = 2.0
_SHIP_SECONDS: Final = 120.0
_CLOSE_SECONDS: Final = 10.0
_OPTIONS: Final = "-o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5"
_END: Final = ("gone",)


class Remote:
    """A host.

    Attributes:
        name: As the suite calls it.
        lost: Why it cannot be used any more; empty while it can.
    """

    def __init__(self, name: str, host: Host, cargo: Cargo, artifacts: Path | None) -> None:
        """Begin to connect; that continues in the background.

        Raises:
            ConfigurationError: execnet is not installed.
        """
        try:
            import execnet
        except ImportError:
            raise ConfigurationError(
                "hosts are reached with execnet: pip install 'vespiary[prove]'", subject=name
            ) from None
        self.name = name
        self.lost = ""
        self._host = host
        self._cargo = cargo
        self._artifacts = artifacts
        self._events: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self._running: dict[int, Plan] = {}
        self._number = 0
        self._unwritten = ""
        self._is_ready = self._is_shipping = False
        self._heard = self._said = time.monotonic()
        self._gateways = execnet.Group()
        self._channel: Any = None
        self._held = Held("vespiary-prove-host-")
        self._files = self._held.path
        self._thread = threading.Thread(target=self._connect, daemon=True)
        self._thread.start()

    def _connect(self) -> None:
        """Start the agent; it may take long, or fail."""
        host = self._host
        try:
            spec = f"ssh={_OPTIONS} {host.ssh}//python={host.python}//id={self.name}"
            gateway = self._gateways.makegateway(spec)
            channel = gateway.remote_exec(agent)
            self._channel = channel
            channel.setcallback(self._events.put, endmarker=_END)
            names = [archive.name for archive in self._cargo.archives]
            channel.send(("hello", host.folder, names))
        except Exception as error:
            text = str(error).strip() or type(error).__name__
            self._events.put(("broken", f"no connection ({text})"))

    def has_room(self, plan: Plan) -> bool:
        """Whether it can start another cell now."""
        del plan
        return self._is_ready and not self.lost and len(self._running) < self._host.jobs

    def start(self, plan: Plan) -> None:
        """Send a cell."""
        self._number += 1
        self._running[self._number] = plan
        self._send("run", self._number, pickle.dumps(plan), self._cargo.suite.name)

    def running(self) -> list[Plan]:
        """The cells that run there."""
        return list(self._running.values())

    def descriptors(self) -> list[int]:
        """None: what comes is taken by a thread."""
        return []

    def step(self) -> list[Ended]:
        """See to what has come; the cells that have ended."""
        ended: list[Ended] = []
        handlers: dict[str, Callable[..., None]] = {
            "lacks": self._ship,
            "ready": self._ready,
            "file": self._take_file,
            "broken": self._lose,
            "gone": lambda: self._lose("the connection ended"),
            "alive": lambda: None,
            "result": lambda number, text: ended.append(self._ended(number, text)),
        }
        while not self.lost:
            try:
                what, *values = self._events.get_nowait()
            except queue.Empty:
                break
            self._heard = time.monotonic()
            handlers[what](*values)
        now = time.monotonic()
        patience = agent.SILENCE_SECONDS if self._is_ready else _SHIP_SECONDS
        if not self.lost and now - self._heard > patience:
            self._lose(f"nothing was heard from it for {patience:g} s")
        is_open = self._channel is not None and not self.lost and not self._is_shipping
        if is_open and now - self._said > _ALIVE_SECONDS:
            self._send("alive")
        return ended

    def _send(self, *message: Any) -> None:
        self._said = time.monotonic()
        try:
            self._channel.send(message)
        except (OSError, EOFError) as error:
            self._lose(self._reason() or f"nothing can be sent ({error})")

    def _reason(self) -> str:
        """What the agent said before it ended, which has come, and was not seen to yet."""
        told = [values[0] for what, *values in list(self._events.queue) if what == "broken"]
        return str(told[-1]) if told else ""

    def _ship(self, names: list[str]) -> None:
        """Begin to send archives; the other hosts do not wait, and hear from here meanwhile."""
        self._is_shipping = True
        threading.Thread(target=self._send_archives, args=(names,), daemon=True).start()

    def _send_archives(self, names: list[str]) -> None:
        """Send archives in pieces, each of which is a sign of life."""
        try:
            for archive in self._cargo.archives:
                if archive.name in names:
                    for piece, is_last in _pieces(archive.data):
                        self._channel.send(("ship", archive.name, piece, is_last))
            self._channel.send(("paths", [archive.name for archive in self._cargo.modules]))
        except (OSError, EOFError) as error:
            self._events.put(("broken", f"nothing can be sent ({error})"))
        self._is_shipping = False

    def _ready(self, version: str) -> None:
        del version
        self._is_ready = True

    def _take_file(self, number: int, name: str, offset: int, data: bytes) -> None:
        path = self._files / str(number) / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("r+b" if path.exists() else "wb") as file:
                file.seek(offset)
                file.write(data)
        except OSError as error:  # The disk of this machine is full: the run continues without.
            self._unwritten = error.strerror or str(error)

    def _ended(self, number: int, text: str) -> Ended:
        plan = self._running.pop(number)
        result = Result.from_json(json.loads(text))
        result.ran_on = self.name
        if self._unwritten:
            text = f"files from hosts could not be stored in {self._files}: {self._unwritten}"
            result.notes.append(text)
        keep(self._files / str(number), self._artifacts, result)
        shutil.rmtree(self._files / str(number), ignore_errors=True)
        return Ended(plan, result)

    def _lose(self, why: str) -> None:
        self.lost = why
        self._is_ready = False

    def files(self, plan: Plan) -> Path | None:
        """Where what has come of a running cell's files is; None before it runs."""
        for number, each in self._running.items():
            if each is plan:
                return self._files / str(number)
        return None

    def close(self) -> None:
        """End all that runs there, and the connection."""
        if self._channel is not None and not self.lost:
            self._send("end")
            deadline = time.monotonic() + _CLOSE_SECONDS
            while time.monotonic() < deadline:
                try:
                    if self._events.get(timeout=0.1)[0] in ("gone", "broken"):
                        break
                except queue.Empty:
                    continue
        self._gateways.terminate(timeout=1.0)
        self._held.close()


def _pieces(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """The pieces of an archive, and whether each is the last."""
    for offset in range(0, len(data), agent.PIECE_BYTES):
        end = offset + agent.PIECE_BYTES
        yield data[offset:end], end >= len(data)
