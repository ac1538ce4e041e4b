"""Run the clients of a case, and check what they did."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence

from vespiary.prove.acceptance.names import VESPIARY
from vespiary.prove.acceptance.suite import Client
from vespiary.prove.acceptance.tools import Wrapping
from vespiary.prove.acceptance.values import Pattern
from vespiary.prove.acceptance.work.context import Context
from vespiary.prove.acceptance.work.output import Output, Search, tail
from vespiary.prove.acceptance.work.program import Program, exit_text
from vespiary.prove.acceptance.work.verdicts import judge

__all__ = ["Running", "run_clients"]

_PLAIN = Wrapping("plain")
_KEPT_AFTER_STOP_SECONDS = 20.0


class Running:
    """A client that runs."""

    def __init__(
        self,
        context: Context,
        client: Client,
        number: int,
        variables: Mapping[str, str],
        *,
        is_alone: bool,
    ) -> None:
        """Start it.

        Raises:
            NotStarted: it cannot be started.
        """
        self._context = context
        self._client = client
        label = f"client-{client.name or number}"
        is_wrapped = client.under_tool or is_alone
        self._wrapping = context.plan.wrapping if is_wrapped else _PLAIN
        self._began = time.monotonic()
        self._awaited: Search | None = None
        self.program = Program(
            context,
            label,
            self._wrapping.command(_command(client, label), label),
            client.folder,
            self._wrapping.environment,
            client.environment,
            variables,
        )

    def finish(self) -> None:
        """Wait for its end, and check it."""
        context, client, program = self._context, self._client, self.program
        within = context.within(client.within) - (time.monotonic() - self._began)
        in_time = program.wait(max(0.0, within), self._is_to_stop)
        if in_time and program.code is None:
            program.send(signal.SIGTERM)
            in_time = program.wait(context.within(_KEPT_AFTER_STOP_SECONDS))
        if not in_time:
            program.kill()
            text = f"{program.label} did not end within {context.within(client.within):g} s"
            context.result.add("client-timeout", text, program.last_lines)
        code = program.code
        assert code is not None
        own = judge(context, self._wrapping, program.label, code, program.output.ending())
        if in_time and own is not None and own != client.exit:
            text = f"{program.label} ended with {exit_text(own)} instead of"
            text = f"{text} {exit_text(client.exit)}"
            context.result.add("client-exit", text, program.last_lines)
        self._check_output()

    def _is_to_stop(self) -> bool:
        """Whether it has to be sent SIGTERM, as it does not end by itself."""
        client = self._client
        if client.stop_after is not None and time.monotonic() - self._began >= client.stop_after:
            return True
        if client.stop_on is None:
            return False
        if self._awaited is None:
            self._awaited = self.program.output.search(self._context.pattern(client.stop_on))
        return self._awaited.look() is not None

    def _check_output(self) -> None:
        output, label = self.program.output, self.program.label
        check_output(
            self._context, "client-output", label, output, self._client.output, wanted=True
        )
        check_output(
            self._context, "client-output", label, output, self._client.no_output, wanted=False
        )


def check_output(
    context: Context,
    kind: str,
    label: str,
    output: Output,
    patterns: Sequence[Pattern],
    *,
    wanted: bool,
) -> None:
    """Check what a program has written against patterns."""
    for template in patterns:
        pattern = context.pattern(template)
        match = output.finds(pattern)
        if wanted and match is None:
            context.result.add(
                kind, f"{label} wrote nothing that matches {pattern!r}", tail(output.ending())
            )
        elif match is not None and not wanted:
            before = match.string.rfind("\n", 0, match.start()) + 1
            text = f"{label} wrote what matches {pattern!r}, which it must not"
            context.result.add(kind, text, tail(match.string[before:][:4000]))


def _command(client: Client, label: str) -> list[str]:
    if client.command is not None:
        return list(client.command)
    assert client.load is not None
    seed = [] if "--seed" in client.load else ["--seed", "{seed}"]
    return [VESPIARY, "load", *client.load, *seed, "--json", f"{{artifacts}}/{label}.json"]


def run_clients(context: Context, variables: Mapping[str, str]) -> None:
    """Run all clients of a case, in turn or at once.

    Raises:
        NotStarted: one cannot be started.
    """
    case = context.plan.case
    is_alone = case.server is None

    def started(number: int, client: Client) -> Running:
        return Running(context, client, number, variables, is_alone=is_alone)

    numbered = list(enumerate(case.clients, start=1))
    if case.at_once:
        with context.step("run all clients"):
            for running in [started(number, client) for number, client in numbered]:
                running.finish()
        return
    for number, client in numbered:
        with context.step(f"run client-{client.name or number}"):
            started(number, client).finish()
