"""Load from several machines: the hosts of a suite file, each with its share of the plan.

A share is sent as a case of `vespiary prove` to its host, with the plan as a file. The hosts begin
on their own, so that they need not begin at the same moment.
"""

from __future__ import annotations

import json
import pickle
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from vespiary._counted import counted
from vespiary.errors import ConfigurationError
from vespiary.prove.acceptance.hosts.remote import Remote
from vespiary.prove.acceptance.hosts.shipping import cargo_of
from vespiary.prove.acceptance.matrix import cells_of
from vespiary.prove.acceptance.outcome import Result
from vespiary.prove.acceptance.plan import plan_of
from vespiary.prove.acceptance.schedule import Lost, run_plans
from vespiary.prove.acceptance.suite import Case, Client, Host, Matrix, Ship, Suite
from vespiary.prove.acceptance.values import Seconds, Size, Words
from vespiary.prove.load.merging import merged
from vespiary.prove.load.plan import Plan
from vespiary.prove.load.run import run_native

__all__ = ["HostLost", "run_on_hosts", "shares"]

_REPORT: Final = "report.json"
_MARGIN_SECONDS: Final = 120.0
_LONGEST_SECONDS: Final = 24 * 3600.0
_MEMORY: Final = Size(64 << 30)
_SEED_MAX: Final = 1 << 32


class HostLost(OSError):
    """A host failed, or could not do its share; the text says which and why."""


def shares(plan: Plan, count: int) -> list[Plan]:
    """The plan in so many parts: connections and rates are divided.

    Raises:
        ConfigurationError: there are fewer connections than hosts.
    """
    if plan.connections < count:
        raise ConfigurationError(
            f"{count} hosts cannot share {counted(plan.connections, 'connection')}",
            subject="connections",
        )
    seed = random.SystemRandom().randrange(_SEED_MAX) if plan.seed is None else plan.seed
    parts = []
    for number in range(count):
        connections = plan.connections // count + (number < plan.connections % count)
        share = connections / plan.connections
        parts.append(
            replace(
                plan,
                connections=connections,
                rate=None if plan.rate is None else plan.rate * share,
                steps=tuple((rate * share, seconds) for rate, seconds in plan.steps),
                seed=seed + number,
            )
        )
    return parts


def run_on_hosts(
    plan: Plan, hosts: Mapping[str, Host], say: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Let each host do its share; the report as that of a run on one machine.

    Args:
        plan: For all hosts together.
        hosts: By name.
        say: Called with a sentence about what happens.

    Raises:
        ConfigurationError: the plan cannot be divided or sent.
        HostLost: a host failed.
    """
    if plan.script is not None:
        raise ConfigurationError("a script cannot run on hosts", subject="--script")
    with tempfile.TemporaryDirectory(prefix="vespiary-load-") as name:
        folder = Path(name)
        suite = _suite(plan, hosts, folder)
        files = folder / "artifacts"
        _run(suite, folder, files, say)
        told = {
            host: json.loads((files / host / "plain" / host / _REPORT).read_text())
            for host in hosts
        }
    return merged(told)


def _suite(plan: Plan, hosts: Mapping[str, Host], folder: Path) -> Suite:
    """A suite with a case for each host, and the files that it needs."""
    sent = folder / "sent"
    sent.mkdir()
    named = {name: getattr(plan, name) for name in ("ca", "certificate", "key")}
    for name, path in named.items():
        if path is not None:
            try:
                shutil.copyfile(path, sent / f"{name}.pem")
            except OSError as error:
                text = f"{path} cannot be read: {error.strerror}"
                raise ConfigurationError(text, subject=name) from error
    there: dict[str, Any] = {
        name: None if path is None else f"{name}.pem" for name, path in named.items()
    }
    within = Seconds(_seconds(plan))
    cases = {}
    for host, share in zip(hosts, shares(replace(plan, **there), len(hosts)), strict=True):
        (sent / f"{host}.plan").write_bytes(pickle.dumps(share))
        words = ("{python}", "-m", __name__, f"{host}.plan", f"{{artifacts}}/{_REPORT}")
        client = Client(command=Words(words), folder="sent", within=within)
        cases[host] = Case(
            clients=[client], matrix=Matrix(hosts=[host]), timeout=within, memory=_MEMORY
        )
    return Suite(name="load", hosts=dict(hosts), ship=Ship(folders=["sent"]), cases=cases)


def _seconds(plan: Plan) -> float:
    """How long the run takes at most, as far as that is known."""
    sending = plan.duration if not plan.steps else sum(seconds for _, seconds in plan.steps)
    if sending is None:
        return _LONGEST_SECONDS
    return sending + plan.ramp_up + plan.hold + plan.reply_timeout + _MARGIN_SECONDS


def _run(suite: Suite, folder: Path, files: Path, say: Callable[[str], None]) -> None:
    cargo = cargo_of(suite, folder)
    cells = [cell for name in suite.cases for cell in cells_of(suite, name)]
    # They reach the server through the host's own network.
    plans = [plan_of(suite, folder, cell, 0, is_isolated=False) for cell in cells]
    sites = [Remote(name, host, cargo, files) for name, host in suite.hosts.items()]
    with closing(run_plans(plans, sites)) as events:
        for event in events:
            if isinstance(event, Lost):
                raise HostLost(f"host {event.name} was lost: {event.why}")
            if not isinstance(event, Result):
                say(f"{event.cell.case} has begun")
                continue
            if event.findings:
                first = event.findings[0]
                text = event.logs.get("client-1", "").strip().splitlines()[-1:]
                raise HostLost(f"host {event.case}: {': '.join([first.text, *text])}")
            say(f"{event.case} has ended")


def main() -> None:
    """On a host: do the share in a file, and write the report to another."""
    plan = pickle.loads(Path(sys.argv[1]).read_bytes())
    try:
        told = run_native(plan)
    except (ConfigurationError, OSError) as error:
        sys.exit(str(error))
    Path(sys.argv[2]).write_text(json.dumps(told))


if __name__ == "__main__":
    main()
