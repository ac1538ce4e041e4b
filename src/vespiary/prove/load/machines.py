"""Load from several machines: the hosts of a suite file, each with its share of the plan.

A share is sent as a case of `vespiary prove` to its host, with the plan as a file. The hosts begin
on their own, so that they need not begin at the same moment. When a host is lost, the others
continue.
"""

from __future__ import annotations

import json
import pickle
import random
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from vespiary._counted import counted
from vespiary.errors import ConfigurationError
from vespiary.prove.acceptance.hosts.remote import Remote
from vespiary.prove.acceptance.hosts.shipping import cargo_of
from vespiary.prove.acceptance.matrix import cells_of
from vespiary.prove.acceptance.plan import plan_of
from vespiary.prove.acceptance.suite import Case, Client, Host, Matrix, Ship, Suite
from vespiary.prove.acceptance.values import Seconds, Size, Words
from vespiary.prove.folders import Held
from vespiary.prove.load.gathering import REPORT, Share, SoFar, gather
from vespiary.prove.load.merging import merged
from vespiary.prove.load.plan import Plan
from vespiary.prove.load.report import Progress
from vespiary.prove.load.run import run_native

__all__ = ["HostLost", "run_on_hosts", "shares"]

_MARGIN_SECONDS: Final = 120.0
_LONGEST_SECONDS: Final = 24 * 3600.0
_MEMORY: Final = Size(64 << 30)
_SEED_MAX: Final = 1 << 32


class HostLost(OSError):
    """No host did anything; the text says why."""


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
    plan: Plan,
    hosts: Mapping[str, Host],
    say: Callable[[str], None] = lambda text: None,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Let each host do its share; the report as that of a run on one machine.

    Of a host that failed, and of all hosts after a KeyboardInterrupt, it has what they did until a
    few seconds before.

    Args:
        plan: For all hosts together.
        hosts: By name.
        say: Called with a sentence about what happens.
        watch: Called with the progress of all hosts together, about once per second.

    Raises:
        ConfigurationError: the plan cannot be divided or sent.
        HostLost: no host did anything.
        KeyboardInterrupt: the run was stopped before any host did anything.
    """
    if plan.script is not None:
        raise ConfigurationError("a script cannot run on hosts", subject="--script")
    with Held("vespiary-load-") as held:
        suite = _suite(plan, hosts, held.path)
        files = held.path / "artifacts"
        parts = _begun(suite, held.path, files)
        is_whole = gather(parts, files, say, watch)
    return _together(plan, parts, is_whole)


def _together(plan: Plan, parts: Sequence[Share], is_whole: bool) -> dict[str, Any]:
    """The report of all hosts, with what is missing in it."""
    known = {part.name: part.told for part in parts if part.told is not None}
    failed = {part.name: part.problem for part in parts if part.problem}
    if not known:
        if not is_whole:
            raise KeyboardInterrupt
        raise HostLost("; ".join(f"host {name}: {why}" for name, why in failed.items()))
    for part in parts:
        if part.told is not None and not part.is_complete and plan.echo:
            told = part.told
            told["abandoned"] = max(0, told["sent"] - told["received"] - told["lost"])
    report = merged(known)
    report["connections"] = plan.connections
    report["hosts_failed"] = failed
    report["complete"] &= is_whole and not failed
    report["clean"] &= not failed
    return report


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
        words = ("{python}", "-m", __name__, f"{host}.plan", "{artifacts}")
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


def _begun(suite: Suite, folder: Path, files: Path) -> list[Share]:
    """Begin to connect to the hosts."""
    cargo = cargo_of(suite, folder)
    parts = []
    for name, host in suite.hosts.items():
        (cell,) = cells_of(suite, name)
        # They reach the server through the host's own network.
        share = plan_of(suite, folder, cell, 0, is_isolated=False)
        parts.append(Share(Remote(name, host, cargo, files), share))
    return parts


def main() -> None:
    """On a host: do the share in a file, and write the reports into a folder."""
    plan = pickle.loads(Path(sys.argv[1]).read_bytes())
    folder = Path(sys.argv[2])
    so_far = SoFar(folder)
    try:
        told = run_native(plan, so_far.watch, so_far)
    except (ConfigurationError, OSError) as error:
        sys.exit(str(error))
    (folder / REPORT).write_text(json.dumps(told))


if __name__ == "__main__":
    main()
