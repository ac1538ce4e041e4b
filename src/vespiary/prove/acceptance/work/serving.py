"""Start and stop the servers of a case."""

from __future__ import annotations

import time
from collections.abc import Mapping

from vespiary.prove.acceptance.suite import Server
from vespiary.prove.acceptance.tools import Wrapping
from vespiary.prove.acceptance.work.context import Context
from vespiary.prove.acceptance.work.program import Program, exit_text
from vespiary.prove.acceptance.work.readiness import Notifications, is_ready
from vespiary.prove.acceptance.work.verdicts import judge

__all__ = ["Serving"]

_PLAIN = Wrapping("plain")


class Serving:
    """A server with how it was described.

    Attributes:
        program: What runs.
        is_ready: Whether it became ready.
    """

    def __init__(
        self,
        context: Context,
        label: str,
        server: Server,
        wrapping: Wrapping = _PLAIN,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Start it, and wait until it is ready.

        Raises:
            NotStarted: it cannot be started.
        """
        self._context = context
        self._server = server
        self._wrapping = wrapping
        notified = None
        more: dict[str, str] = dict(variables or {})
        began = time.monotonic()
        if server.ready.notify:
            notified = Notifications(context.artifacts / f"{label}.notify")
            more["NOTIFY_SOCKET"] = str(notified.path)
        try:
            with context.step(f"start {label}"):
                self.program = Program(
                    context,
                    label,
                    wrapping.command(server.command, label),
                    server.folder,
                    wrapping.environment,
                    server.environment,
                    more,
                )
                self.is_ready = is_ready(context, self.program, server.ready, notified)
            self._ready_seconds = time.monotonic() - began
        finally:
            if notified is not None:
                notified.close()

    def stop(self) -> None:
        """Stop it as it is described, and put down how it ended."""
        context, stop, program = self._context, self._server.stop, self.program
        within = context.within(stop.within)
        early = program.code
        began = time.monotonic()
        with context.step(f"stop {program.label}"):
            program.send(stop.signal.number)
            in_time = program.wait(within)
            if not in_time:
                program.kill()
        seconds = time.monotonic() - began
        if not in_time:
            text = f"{program.label} did not end within {within:g} s after {stop.signal}"
            context.result.add("stop-timeout", f"{text}, and was killed", program.last_lines)
        code = program.code
        assert code is not None
        written = program.output.ending()
        own = judge(context, self._wrapping, program.label, code, written, self._ready_seconds)
        if not in_time or own is None or not self.is_ready:
            return
        if early is not None:
            text = f"{program.label} ended with {exit_text(own)} before it was asked to"
            context.result.add("server-ended", text, program.last_lines)
        elif own != stop.exit:
            text = (
                f"{program.label} ended with {exit_text(own)} instead of {exit_text(stop.exit)}"
                f" {seconds:.1f} s after {stop.signal}"
            )
            context.result.add("stop-exit", text, program.last_lines)
