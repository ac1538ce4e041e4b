"""The tool's side of the keeper: start a program, hear how it ended, end all of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vespiary.errors import ConfigurationError
from vespiary.prove.commands import why_not
from vespiary.prove.signals import PASSED_ON

__all__ = ["Kept", "Place"]

_KEEPER = Path(__file__).with_name("keeper.py")


class Place:
    """Where a program runs: the control groups that it joins, and how they are ended.

    Attributes:
        enter: Files into which a process writes 0 to join.
        kill: Files into which 1 is written to end all that is in a group.
        remove: Folders that are removed in the end, in this order.
        prefix: Words before the command, of a program that puts it into its place.
        delete: Folders that are deleted in the end, with all files in them.
    """

    def __init__(
        self,
        enter: Sequence[Path] = (),
        kill: Sequence[Path] = (),
        remove: Sequence[Path] = (),
        prefix: Sequence[str] = (),
        delete: Sequence[Path] = (),
    ) -> None:
        self.enter = enter
        self.kill = kill
        self.remove = remove
        self.prefix = prefix
        self.delete = delete


class Kept:
    """A program with its keeper.

    Attributes:
        pid: The program's process.
        status: How it ended, as `subprocess` has it: negative for a signal; None while it runs.
        is_gone: Whether neither it nor anything that it started is left.
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
        self.status: int | None = None
        self.is_gone = False
        self._rest = b""
        blocked = set(signal.pthread_sigmask(signal.SIG_BLOCK, []) if mask is None else mask)
        control, self._control = os.pipe2(os.O_CLOEXEC)
        self._result, result = os.pipe2(os.O_CLOEXEC)
        plan = {
            "command": [*place.prefix, *command],
            "control": control,
            "result": result,
            "mask": sorted(map(int, blocked)),
            "enter": [str(path) for path in place.enter],
            "kill": [str(path) for path in place.kill],
            "remove": [str(path) for path in place.remove],
            "delete": [str(path) for path in place.delete],
        }
        try:
            for number in (control, result):
                os.set_inheritable(number, True)
            self.keeper = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", str(_KEEPER), json.dumps(plan)],
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
            os.close(control)
            os.close(result)
        self.pid = self._started(command)

    def _started(self, command: Sequence[str]) -> int:
        while b"\n" not in self._rest:
            piece = os.read(self._result, 4096)
            if not piece:
                self.close()
                raise ConfigurationError(
                    f"{sys.executable} could not start the program's keeper", subject="command"
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
            self.is_gone = True
            return
        self._rest += piece
        self._take()

    def _take(self) -> None:
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            facts = json.loads(line)
            self.status = facts.get("status", self.status)
            self.is_gone |= "gone" in facts

    def end(self) -> None:
        """Kill the program and all that it started; `is_gone` says when that is done."""
        os.write(self._control, b"k")

    def close(self) -> None:
        """End what is left, and wait until everything of the run is removed."""
        os.close(self._control)
        while os.read(self._result, 4096):
            pass
        os.close(self._result)
        # Started with SIGCHLD ignored, nobody keeps how it ended.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.keeper, 0)
