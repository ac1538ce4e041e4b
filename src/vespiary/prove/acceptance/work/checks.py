"""Further checks of a server: descriptors, processes, ports, files, numbers."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from vespiary._counted import counted
from vespiary.prove.acceptance.suite import Counter
from vespiary.prove.acceptance.work.clients import check_output
from vespiary.prove.acceptance.work.context import Context
from vespiary.prove.acceptance.work.family import below, descriptors, name_of, orphans, zombies
from vespiary.prove.acceptance.work.program import Program
from vespiary.prove.acceptance.work.readiness import get
from vespiary.prove.acceptance.work.sockets import is_bound

__all__ = ["Growth", "check_counters", "check_files", "check_left", "check_server_output"]

_SETTLE_SECONDS = 3.0
_PAUSE_SECONDS = 0.02
_COMMAND_SECONDS = 30.0


def _settled(is_so: Callable[[], bool], seconds: float = _SETTLE_SECONDS) -> bool:
    """Whether something is so, within a moment."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE_SECONDS)
    return True


class Growth:
    """The descriptors and processes of a server, when it became ready and after its clients."""

    def __init__(self, context: Context, server: Program) -> None:
        self._context = context
        self._server = server
        self._descriptors = descriptors(self._pids())
        self._processes = len(self._all())

    def _pids(self) -> list[int]:
        pid = self._server.process.pid
        return [pid, *below(pid), *orphans(self._context.started)]

    def _all(self) -> list[int]:
        """Also those that have ended and were not waited for, which fill the table of processes."""
        pids = self._pids()
        return [*pids, *zombies(pids)]

    def check(self) -> None:
        """Compare with what was; the server has a moment to close what its clients left."""
        checks = self._context.plan.case.checks
        found = [0, 0]

        def is_enough() -> bool:
            more = descriptors(self._pids()) - self._descriptors
            found[:] = more, len(self._all()) - self._processes
            return found[0] <= checks.descriptors_growth_max and (
                checks.children_growth_max is None or found[1] <= checks.children_growth_max
            )

        if _settled(is_enough, self._context.within(_SETTLE_SECONDS)):
            return
        more, children = found
        if more > checks.descriptors_growth_max:
            text = (
                f"the server has {counted(more, 'descriptor')} more than before its clients"
                f" ({self._descriptors} then; at most {checks.descriptors_growth_max} more allowed)"
            )
            self._context.result.add("descriptors", text, _open_files(self._pids()))
        if checks.children_growth_max is not None and children > checks.children_growth_max:
            text = f"the server has {counted(children, 'process', 'processes')} more than before"
            names = "\n".join(map(name_of, self._all()))
            self._context.result.add("children", f"{text} its clients", names)


def _open_files(pids: list[int]) -> str:
    """What the descriptors of processes are, the most frequent first."""
    kinds: dict[str, int] = {}
    for pid in pids:
        for path in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                kind = re.sub(r"\[\d+\]", "", str(path.readlink()))
            except OSError:
                continue
            kinds[kind] = kinds.get(kind, 0) + 1
    ordered = sorted(kinds.items(), key=lambda each: -each[1])
    return "\n".join(f"{count:6} {kind}" for kind, count in ordered[:10])


def check_server_output(context: Context, server: Program) -> None:
    """What the server has written."""
    checks, output = context.plan.case.checks, server.output
    check_output(context, "server-output", server.label, output, checks.output, wanted=True)
    check_output(context, "server-output", server.label, output, checks.no_output, wanted=False)


def check_files(context: Context) -> None:
    """Files after the stop."""
    for file in context.plan.case.checks.files:
        path = context.folder(file.path)
        if path.exists() != file.exists:
            text = f"{path} is not there" if file.exists else f"{path} is there, and must not be"
            context.result.add("file", text)
            continue
        if not path.is_file():
            continue
        text = path.read_text(errors="replace")
        if file.contains is not None and not context.pattern(file.contains).finds(text):
            context.result.add("file", f"{path} has nothing that matches {file.contains!r}", text)
        size = path.stat().st_size
        if file.bytes_max is not None and size > file.bytes_max:
            context.result.add("file", f"{path} has {size} bytes, more than {file.bytes_max}")


def check_left(context: Context) -> None:
    """Nothing of the case's may be left: no listening port, no process."""
    checks = context.plan.case.checks
    left: list[int] = []

    def is_nothing_left() -> bool:
        left[:] = orphans(context.started)
        return len(left) <= checks.left_behind

    if not _settled(is_nothing_left, context.within(1.0)):
        text = f"{counted(len(left), 'process', 'processes')} outlived the server's stop"
        context.result.add("left-behind", text, "\n".join(map(name_of, left)))
    if checks.ports_closed:
        for name, port in context.ports.items():
            if not _settled(lambda port=port: not is_bound(port), 1.0):  # type: ignore[misc]
                text = f"something listens on port {port} ({{{name}}}) after the stop"
                context.result.add("port-open", text)


def check_counters(context: Context, when: str) -> None:
    """Numbers that must have a value now; a server has a moment to reach it."""
    for counter in context.plan.case.checks.counters:
        if counter.when != when:
            continue
        last: list[float | str] = [""]

        def is_met(counter: Counter = counter, last: list[float | str] = last) -> bool:
            last[0] = _number(context, counter)
            return isinstance(last[0], float) and counter.expect.holds(last[0])

        if not _settled(is_met):
            name = counter.json or counter.metric or counter.pattern
            source = counter.url or counter.file or " ".join(counter.command or ())
            text = f"{name} of {context.text(source)} is {last[0]}; expected {counter.expect}"
            context.result.add("counter", text)


def _number(context: Context, counter: Counter) -> float | str:
    """The number; a text that says why there is none."""
    try:
        text = _source(context, counter)
        if counter.json is not None:
            return _member(json.loads(text), counter.json)
        if counter.metric is not None:
            return _metric(text, counter.metric)
        assert counter.pattern is not None
        match = context.pattern(counter.pattern).finds(text)
        return float(match[1]) if match else f"not there (in {text[:200]!r})"
    except (OSError, ValueError, LookupError, TypeError, subprocess.SubprocessError) as error:
        return f"not there ({type(error).__name__}: {error})"


def _source(context: Context, counter: Counter) -> str:
    if counter.url is not None:
        return get(context.text(counter.url))[1]
    if counter.file is not None:
        return context.folder(counter.file).read_text(errors="replace")
    assert counter.command is not None
    done = subprocess.run(
        context.words(counter.command),
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        env=context.variables(),
        cwd=context.plan.suite_folder,
        check=True,
    )
    return done.stdout


def _member(value: object, place: str) -> float:
    for part in place.split("."):
        if isinstance(value, list):
            value = value[int(part)]
        else:
            assert isinstance(value, dict) or not part
            value = value[part]  # type: ignore[index]
    return float(value)  # type: ignore[arg-type]


def _metric(text: str, name: str) -> float:
    found = re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)", text, re.MULTILINE)
    if not found:
        raise LookupError(f"no metric {name}")
    return sum(map(float, found))
