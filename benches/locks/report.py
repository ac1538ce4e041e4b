"""The measurements of locks as Markdown."""

import statistics
from collections.abc import Mapping, Sequence

from benches.locks import load, pairs
from benches.locks.detectors import BARE, PEERS, VESPIARY
from benches.locks.instructions import Count
from benches.locks.load import Pace
from benches.locks.pairs import Cost

NATIVE_NANOSECONDS_MAX = 60.0
PYTHON_NANOSECONDS_MAX = 100.0
LOSS_MAX = 0.15


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    head = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    return [*head, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _added(costs: Sequence[Cost], subject: str, case: str) -> str:
    values = pairs.added(costs, subject, case, VESPIARY.name)
    if not values:
        return ""
    return f"**{statistics.median(values):.1f}** ({min(values):.1f} to {max(values):.1f})"


def _native(costs: Sequence[Cost]) -> list[str]:
    names = [BARE.name, VESPIARY.name, *(peer.name for peer in PEERS)]
    rows = []
    for case, (title, _) in pairs.NATIVE.items():
        cells = [_number(pairs.median(costs, "native", case, name)) for name in names]
        rows.append([title, *cells[:2], _added(costs, "native", case), *cells[2:]])
    columns = ["ns for each lock", *names[:2], "added", *names[2:]]
    return ["## Native locks", "", *_table(columns, rows)]


def _python(costs: Sequence[Cost]) -> list[str]:
    lines = ["## Python's locks", ""]
    for subject in sorted({cost.subject for cost in costs} - {"native"}):
        rows = [
            [
                title,
                _number(pairs.median(costs, subject, case, BARE.name)),
                _number(pairs.median(costs, subject, case, VESPIARY.name)),
                _added(costs, subject, case),
            ]
            for case, (title, _) in pairs.PYTHON.items()
        ]
        lines += _table([f"ns for each lock, {subject}", "bare", "Vespiary", "added"], rows)
    return lines


def _load(paces: Sequence[Pace]) -> list[str]:
    rows = []
    for subject in load.SUBJECTS:
        of = {
            name: [it for it in paces if (it.subject, it.detector) == (subject.name, name)]
            for name in (BARE.name, VESPIARY.name)
        }
        if not of[VESPIARY.name]:
            continue
        losses = load.loss(paces, subject.name)
        of_cpu = statistics.median(load.cpu_loss(paces, subject.name))
        watched = of[VESPIARY.name]
        findings = sorted({kind for it in watched for kind in it.findings})
        rows.append(
            [
                subject.title,
                *(f"{statistics.median(it.throughput for it in of[name]):,.0f}" for name in of),
                f"**{statistics.median(losses):.1%}** ({min(losses):.1%} to {max(losses):.1%})",
                *(f"{statistics.median(it.cpu_us for it in of[name]):.2f}" for name in of),
                f"{of_cpu:.1%}",
                f"{statistics.median(it.locks for it in watched):.1f}",
                f"{max(it.load_busy for it in paces if it.subject == subject.name):.0%}",
                ", ".join(findings) or "none",
            ]
        )
    columns = [
        "server",
        "bare, requests/s",
        "watched",
        "loss",
        "bare, CPU us/request",
        "watched",
        "loss by CPU",
    ]
    columns += ["locks/request", "client busy, at most", "findings"]
    return ["## Servers under load", "", *_table(columns, rows)]


def _instructions(counts: Sequence[Count]) -> list[str]:
    of = {(it.subject, it.case, it.detector): it.instructions for it in counts}
    titles = {**pairs.NATIVE, **pairs.PYTHON}
    rows = []
    for subject, case, detector in of:
        if detector != BARE.name:
            continue
        bare, watched = of[subject, case, detector], of[subject, case, VESPIARY.name]
        title = f"{titles[case][0]}, {subject}"
        rows.append([title, f"{bare:.0f}", f"{watched:.0f}", f"**{watched - bare:.0f}**"])
    columns = ["instructions for each lock", "bare", "Vespiary", "added"]
    return ["## Instructions", "", *_table(columns, rows)]


def _targets(costs: Sequence[Cost], paces: Sequence[Pace]) -> list[str]:
    rows = []

    def judge(text: str, most: str, value: str, is_met: bool) -> None:
        rows.append([text, most, value, "yes" if is_met else "**no**"])

    for subject, cases, most in (
        ("native", pairs.NATIVE, NATIVE_NANOSECONDS_MAX),
        *(
            (
                subject,
                {name: pairs.PYTHON[name] for name in ("lock", "rlock")},
                PYTHON_NANOSECONDS_MAX,
            )
            for subject in sorted({cost.subject for cost in costs} - {"native"})
        ),
    ):
        found = [pairs.added(costs, subject, case, VESPIARY.name) for case in cases]
        medians = [statistics.median(values) for values in found if values]
        if medians:
            text = f"added to one lock, the dearest kind, {subject}"
            judge(text, f"{most:.0f} ns", f"{max(medians):.1f} ns", max(medians) <= most)
    for server in load.SUBJECTS:
        losses = load.loss(paces, server.name)
        if losses:
            value = statistics.median(losses)
            text = f"throughput lost, {server.title}"
            judge(text, f"{LOSS_MAX:.0%}", f"{value:.1%}", value <= LOSS_MAX)
    return ["## Targets", "", *_table(["target", "at most", "measured", "met"], rows)]


def markdown(
    heading: Sequence[str],
    costs: Sequence[Cost],
    paces: Sequence[Pace],
    counts: Sequence[Count],
    missing: Mapping[str, str],
) -> str:
    """The whole report; a part that was not measured is left out."""
    lines = [*heading, "", *_targets(costs, paces)]
    if costs:
        lines += [*_native(costs), *_python(costs)]
    if paces:
        lines += _load(paces)
    if counts:
        lines += _instructions(counts)
    if missing:
        lines += ["## Missing", "", *(f"* {name}: {why}" for name, why in missing.items()), ""]
    return "\n".join(lines).rstrip() + "\n"
