"""Run a program with the library preloaded, and watch its records while it runs.

The code that reads records is imported only if there is one, and the code that searches for
findings only if there can be one: most processes take no lock, or take their locks in one order.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vespiary.errors import ConfigurationError
from vespiary.prove.folders import Held
from vespiary.prove.locks.binaries import inspect
from vespiary.prove.locks.gaps import find, lockless, program_of
from vespiary.prove.locks.outcome import Coverage, Outcome
from vespiary.prove.locks.preload import environment, room
from vespiary.prove.locks.survivors import lives, survivors
from vespiary.prove.locks.tree import Tree
from vespiary.prove.program import Program

if TYPE_CHECKING:
    from vespiary.prove.locks.cores import Core
    from vespiary.prove.locks.findings import Finding
    from vespiary.prove.locks.watching import Watcher

__all__ = ["STALL_SECONDS", "run"]

STALL_SECONDS = 5.0
"""How long a thread may wait for a lock, by default, while the lock's holder does not run either:
longer than a busy machine keeps a thread that can run from running, and short for a person."""

_LOOK_SECONDS = 0.1
_END_SECONDS = 5.0


def run(
    command: Sequence[str],
    *,
    on_live: Callable[[Finding], None] = lambda finding: None,
    stall_seconds: float = STALL_SECONDS,
    linger_seconds: float = 2.0,
    perturb: int | None = None,
    full_bytes_max: int | None = None,
    core_folder: Path | None = None,
) -> Outcome:
    """Run a command to its end, or to its first deadlock.

    Args:
        command: The words.
        on_live: Called with a deadlock as soon as it is seen, after which the command is ended, and
            with each stall, after which it continues.
        stall_seconds: How long a thread may wait for a lock whose holder does not run either before
            that is reported.
        linger_seconds: How long processes that outlive the command are watched.
        perturb: Yield now and then at lock operations, at moments that this seed decides.
        full_bytes_max: Keep every acquisition, in so many bytes at most; None for the fast mode.
        core_folder: Leave a core of each process of a deadlock, here where that can be chosen.

    Raises:
        ConfigurationError: the command cannot be started.
    """
    _refuse_musl(program_of(command[0]))
    with Held("vespiary-locks-", room()) as held:
        folder = held.path
        variables = environment(folder, perturb)
        if full_bytes_max is not None:
            from vespiary.prove.locks.log import keep_all

            variables |= keep_all(folder, full_bytes_max)
        program = Program(command, variables)
        cores: list[Core] = []
        try:
            watched = _Watched(folder, program, stall_seconds, on_live)
            stuck = watched.wait() or watched.linger(linger_seconds)
            if stuck is not None:
                on_live(stuck)
                watched.tree.look(at_once=True)
                if core_folder is not None:
                    from vespiary.prove.locks.cores import leave

                    cores = [leave(pid, core_folder) for pid in watched.stuck]
                watched.end()
        finally:
            program.close()
        outcome = watched.outcome(stuck)
        outcome.cores = cores
        outcome.coverage.gaps += find(folder, program.pid, program_of(command[0]), watched.tree)
        outcome.coverage.lockless = lockless(folder, watched.took)
        return outcome


def _refuse_musl(program: str) -> None:
    if "musl" in inspect(program).interpreter:
        raise ConfigurationError(
            f"{program} is linked with the C library musl, and `vespiary locks -- COMMAND` needs"
            " glibc: use `vespiary locks attach PID` while the program runs",
            subject="command",
        )


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "ended"


class _Watched:
    """The processes of a run.

    Attributes:
        tree: What was seen of them from outside.
    """

    def __init__(
        self,
        folder: Path,
        program: Program,
        stall_seconds: float,
        on_live: Callable[[Finding], None],
    ) -> None:
        self.tree = Tree(program.pid)
        self._folder = folder
        self._program = program
        self._stall_seconds = stall_seconds
        self._on_live = on_live
        self._watcher: Watcher | None = None

    def wait(self) -> Finding | None:
        """Wait for the end, or for the first deadlock."""
        while self._program.wait(_LOOK_SECONDS) is None:
            found = self._look()
            if found is not None:
                return found
        return None

    def linger(self, seconds: float) -> Finding | None:
        """Watch what outlives the command, for a while: daemons do their work there."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._program.asked_to_end and self._survivors():
            self._program.pause(_LOOK_SECONDS)
            found = self._look()
            if found is not None:
                return found
        return None

    @property
    def stuck(self) -> list[int]:
        """The processes of a deadlock."""
        return self._watcher.stuck if self._watcher is not None else []

    @property
    def took(self) -> set[int]:
        """The processes that took a lock."""
        return self._watcher.took if self._watcher is not None else set()

    def end(self) -> None:
        """End what cannot continue, with all the processes that were watched."""
        self._program.kill()
        for pid in self._living():
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        deadline = time.monotonic() + _END_SECONDS
        while self._program.wait(0.01) is None or self._living():
            if time.monotonic() > deadline:
                return

    def outcome(self, stuck: Finding | None) -> Outcome:
        """The outcome, once the command has ended."""
        status = self._program.status if self._program.status is not None else -signal.SIGKILL
        outcome = Outcome(status, stuck is not None, [], Coverage(), self._program.asked_to_end)
        watcher = self._watching()
        if watcher is not None:
            from vespiary.prove.locks.findings import ordered

            watcher.take_rest(was_stuck=stuck is not None)
            outcome.findings = ordered([*filter(None, [stuck]), *watcher.stalls, *watcher.findings])
            outcome.coverage = watcher.coverage
            outcome.statistics = watcher.figures
        if stuck is None:
            outcome.coverage.outlived = [
                f"process {pid} ({_name(pid)})" for pid in self._survivors()
            ]
        return outcome

    def _look(self) -> Finding | None:
        self.tree.look()
        watcher = self._watching()
        return watcher.look() if watcher is not None else None

    def _watching(self) -> Watcher | None:
        """What watches the records, once there is one."""
        if self._watcher is None and any(self._folder.glob("*.locks")):
            from vespiary.prove.locks.watching import Watcher

            self._watcher = Watcher(self._folder, self._stall_seconds, self._on_live)
        return self._watcher

    def _living(self) -> list[int]:
        return self._watcher.living() if self._watcher is not None else []

    def _survivors(self) -> list[int]:
        return sorted(filter(lives, {*self._living(), *survivors(self._folder)}))
