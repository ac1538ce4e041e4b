"""The tool's side of the keeper: start a program, get its exit status, end all of its processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vespiary.errors import ConfigurationError
from vespiary.prove.commands import check_command, why_not
from vespiary.prove.signals import PASSED_ON

__all__ = ["Alarm", "Full", "Kept", "Place"]

_KEEPER = Path(__file__).with_name("keeper.py")


class Alarm(NamedTuple):
    """How the kernel wakes the keeper at the limit, and how it knows that it was this limit.

    Attributes:
        descriptor: What it waits for; only the keeper reads from it.
        events: What to poll it for.
        file: A file with numbers, of which each has a name before it or there is only one.
        least: What numbers of that file are at least when this limit was reached, by their names.
    """

    descriptor: int
    events: int
    file: Path
    least: Mapping[str, int]


class Full(NamedTuple):
    """How the keeper sees that a group is full before the kernel reports it.

    Attributes:
        limit: Bytes.
        usage: The file with what the group uses.
        stat: The file with what that is, by name.
        unfreeable: Names of what only the programs can free.
        freeable: Names of what the kernel can free: 1, or -1 for what is counted in another name.
        failures: The file that says how often memory was refused.
        failures_name: The name of that number; empty in a file with one number.
    """

    limit: int
    usage: Path
    stat: Path
    unfreeable: Sequence[str]
    freeable: Mapping[str, int]
    failures: Path
    failures_name: str = ""


@dataclass(frozen=True)
class Place:
    """Where a program runs: the control groups that it joins, and how they are ended.

    Attributes:
        enter: Files into which a process writes 0 to join.
        kill: Files into which 1 is written to end all that is in a group.
        remove: Folders that are removed in the end, in this order.
        prefix: Words before the command, of a program that puts it into its place.
        delete: Folders that are deleted in the end, with all files in them.
        alarm: What wakes the keeper at the limit, so that it ends everything.
        full: How it sees the limit by itself.
    """

    enter: Sequence[Path] = ()
    kill: Sequence[Path] = ()
    remove: Sequence[Path] = ()
    prefix: Sequence[str] = ()
    delete: Sequence[Path] = ()
    alarm: Alarm | None = None
    full: Full | None = None


class Kept:
    """A program with its keeper.

    Attributes:
        pid: The program's process.
        status: How it ended, as `subprocess` has it: negative for a signal; None while it runs.
        over: When the keeper was woken at the limit, on the monotonic clock.
        gone: When the last process of all that the program started was gone, on the same clock.
        is_keeper_lost: Whether the keeper was killed, so that nobody knows the rest.
    """

    def __init__(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        place: Place,
        mask: Iterable[int] | None = None,
        output: int | None = None,
    ) -> None:
        """Start it, searched for on PATH.

        Args:
            command: The words.
            variables: The environment.
            place: Where it runs.
            mask: The signals that it has blocked; this thread's by default.
            output: The descriptor of its standard output and error; this process's by default.

        Raises:
            ConfigurationError: it cannot be started.
        """
        check_command(command)
        self.status: int | None = None
        self.over: float | None = None
        self.gone: float | None = None
        self.is_keeper_lost = False
        self._rest = b""
        blocked = set(signal.pthread_sigmask(signal.SIG_BLOCK, []) if mask is None else mask)
        control, self._control = os.pipe2(os.O_CLOEXEC)
        self._result, result = os.pipe2(os.O_CLOEXEC)
        given = [control, result]
        alarm = None
        if place.alarm is not None:
            given.append(os.dup(place.alarm.descriptor))
            alarm = [given[-1], place.alarm.events, str(place.alarm.file), place.alarm.least]
        plan = {
            "command": [*place.prefix, *command],
            "control": control,
            "result": result,
            "given": given,
            "mask": sorted(map(int, blocked)),
            "enter": [str(path) for path in place.enter],
            "kill": [str(path) for path in place.kill],
            "remove": [str(path) for path in place.remove],
            "delete": [str(path) for path in place.delete],
            "alarm": alarm,
            "full": place.full,
        }
        try:
            for number in given:
                os.set_inheritable(number, True)
            self.keeper = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", str(_KEEPER), json.dumps(plan, default=str)],
                variables,
                file_actions=[]
                if output is None
                else [(os.POSIX_SPAWN_DUP2, output, number) for number in (1, 2)],
                # What is meant for the program does not end its keeper.
                setsigmask=(blocked | PASSED_ON) - {signal.SIGCHLD},
            )
        except OSError:
            os.close(self._control)
            os.close(self._result)
            raise
        finally:
            for number in given:
                os.close(number)
        self.pid = self._started(command)

    def _started(self, command: Sequence[str]) -> int:
        while b"\n" not in self._rest:
            piece = os.read(self._result, 4096)
            if not piece:
                self.close()
                raise ConfigurationError(
                    f"{sys.executable} could not start the process that runs the program",
                    subject="command",
                )
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        facts = json.loads(line)
        if "errno" in facts:
            self.close()
            error = OSError(facts["errno"], os.strerror(facts["errno"]))
            raise ConfigurationError(why_not(command[0], error), subject="command") from error
        self._take()
        pid: int = facts["pid"]
        return pid

    def fileno(self) -> int:
        """The descriptor that becomes readable when there is something to `hear`."""
        return self._result

    def hear(self) -> None:
        """Take in what the keeper says; called when the descriptor is readable."""
        piece = os.read(self._result, 4096)
        if not piece:
            self.is_keeper_lost = self.gone is None
            self.gone = self.gone or time.monotonic()
            return
        self._rest += piece
        self._take()

    def _take(self) -> None:
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            facts = json.loads(line)
            self.status = facts.get("status", self.status)
            self.over = facts.get("over", self.over)
            self.gone = facts.get("gone", self.gone)

    @property
    def is_gone(self) -> bool:
        """Whether neither the program nor anything that it started is left."""
        return self.gone is not None

    def end(self) -> None:
        """Kill the program and all that it started; `gone` says when that is done."""
        with contextlib.suppress(BrokenPipeError):  # The keeper was killed: `hear` notices it.
            os.write(self._control, b"k")

    def close(self) -> None:
        """End the rest, and wait until everything of the run is removed."""
        os.close(self._control)
        while os.read(self._result, 4096):
            pass
        os.close(self._result)
        # Started with SIGCHLD ignored, nobody keeps how it ended.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.keeper, 0)
