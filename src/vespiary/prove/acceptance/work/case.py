"""Run one case: start, wait, use, check, stop, check again; then write the result.

`python -m vespiary.prove.acceptance.work.case FOLDER`, where FOLDER has the plan. The runner has
started this below a keeper, which ends everything when the runner ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from vespiary.prove.acceptance.plan import Plan
from vespiary.prove.acceptance.tools import Wrapping
from vespiary.prove.acceptance.work import checks, family
from vespiary.prove.acceptance.work.clients import run_clients
from vespiary.prove.acceptance.work.context import Context
from vespiary.prove.acceptance.work.network import isolate
from vespiary.prove.acceptance.work.program import NotStarted
from vespiary.prove.acceptance.work.serving import Serving
from vespiary.prove.memory.work import VARIABLE

__all__ = ["PLAN", "RESULT", "main"]

_RESERVE_BYTES = 1 << 20
"""Of the disk, which programs may fill: for the result."""

PLAN = "plan.pickle"
RESULT = "result.json"


def main() -> None:
    """Run the case whose plan is in the folder that is named."""
    root = Path(sys.argv[1])
    os.setsid()  # Ctrl-C is for the runner.
    family.adopt_orphans()
    plan = Plan.read(root / PLAN)
    signal.signal(signal.SIGALRM, _raise_timeout)
    signal.setitimer(signal.ITIMER_REAL, plan.timeout)
    folder, artifacts = root / "folder", root / "artifacts"
    reserve = root / "reserve"
    reserve.write_bytes(bytes(_RESERVE_BYTES))
    folder.mkdir()
    artifacts.mkdir()
    context = Context(plan, folder, artifacts)
    if plan.is_isolated and (why_not := isolate()):
        context.result.notes.append(
            f"without its own network, which this system does not allow ({why_not})"
        )
    try:
        _run(context)
    except NotStarted as error:
        context.result.add("not-run", str(error))
    except _TooLate:  # Raised by the signal, wherever the case is then.
        text = f"the case did not end within {plan.timeout:g} s"
        steps = context.result.steps
        context.result.add("timeout", f"{text}: {steps[-1].text} took too long" if steps else text)
    except Exception:
        text = "the case could not be run to its end, because of a mistake in vespiary prove"
        context.result.add("not-run", text, traceback.format_exc())
    family.end_all()
    context.result.seconds = context.seconds
    reserve.unlink()
    new = root / f"{RESULT}.new"
    new.write_text(json.dumps(context.result.as_json()))
    new.rename(root / RESULT)


class _TooLate(BaseException):
    """The time of the whole case is over."""


def _raise_timeout(number: int, frame: FrameType | None) -> None:
    del number, frame
    signal.setitimer(signal.ITIMER_REAL, 0)
    raise _TooLate


def _run(context: Context) -> None:
    plan = context.plan
    case = plan.case
    variables: dict[str, str] = {}
    work: dict[str, str] = {}
    if plan.cell.tool == "memory" and case.server is not None:
        # `vespiary load` reports its messages to the tool that the server runs under.
        pipe = str(context.artifacts.parent / "work")
        variables[VARIABLE] = pipe
        work = {"work": pipe}
    with _services(context) as are_ready:
        if are_ready:
            if case.server is None:
                run_clients(context, variables)
            else:
                _serve(context, variables, work)
    checks.check_left(context)
    checks.check_files(context)
    checks.check_counters(context, "after-stop")


@contextmanager
def _services(context: Context) -> Iterator[bool]:
    """The servers that this one needs."""
    running: list[Serving] = []
    try:
        for name, service in context.plan.case.services.items():
            serving = Serving(context, name, service)
            running.append(serving)
            if not serving.is_ready:
                break
        yield all(serving.is_ready for serving in running)
    finally:
        for serving in reversed(running):
            serving.stop()


def _serve(context: Context, variables: dict[str, str], work: dict[str, str]) -> None:
    """The server itself, its clients, and its checks."""
    server = context.plan.case.server
    assert server is not None
    serving = Serving(context, "server", server, _with_work(context, work))
    context.name("server.pid", serving.program.process.pid)
    try:
        if serving.is_ready:
            growth = checks.Growth(context, serving.program)
            run_clients(context, variables)
            with context.step("check"):
                if serving.program.code is None:
                    growth.check()
                    checks.check_counters(context, "after-clients")
    finally:
        serving.stop()
    checks.check_server_output(context, serving.program)


def _with_work(context: Context, work: dict[str, str]) -> Wrapping:
    """The tool, with the pipe for reports of work."""
    wrapping = context.plan.wrapping
    if not work:
        return wrapping
    return replace(wrapping, prefix=(*wrapping.prefix[:-1], "--work", work["work"], "--"))


if __name__ == "__main__":
    main()
