"""A report as tables for people."""

import time
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vespiary._counted import counted
from vespiary.prove.timewait.namespaces import OWN
from vespiary.prove.timewait.report import (
    BudgetReport,
    Forecast,
    OwnerReport,
    Report,
    States,
    Waiting,
)
from vespiary.prove.timewait.tally import host_port

__all__ = ["as_line", "as_table", "seconds_text"]

_SHOWN = ("time_wait", "established", "close_wait")
_URGENT_SECONDS = 30
_FULL, _HALF_FULL = 0.9, 0.5


def as_line(report: Report) -> str:
    """A report in one line, for a log."""
    states = report["states"]
    words = [time.strftime("%H:%M:%S", time.localtime(report["time"]))]
    words += [f"{name} {states[name]:,}" for name in _SHOWN]
    if report["budgets"]:
        budget = report["budgets"][0]
        words.append(f"{_where(budget)} uses {budget['used']:,} of {budget['ports']:,} ports")
    words += [forecast_text(forecast) for forecast in report["forecasts"][:2]]
    words += [f"ALARM {alarm['alarm']}: {alarm['text']}" for alarm in report["alarms"]]
    return "; ".join(words)


def as_table(report: Report, rows: int) -> RenderableType:
    """A report as tables of at most so many rows each."""
    several = len(report["namespaces"]) > 1
    parts: list[RenderableType] = [*_head(report), ""]
    parts += [_owners(report["owners"][:rows], several), ""]
    budgets = [it for it in report["budgets"] if it["used"] > 1][:rows]
    if budgets:
        parts += [_budgets(budgets, several), ""]
    parts += [_ends(report, rows, several), ""]
    parts += [_forecast_line(forecast, several) for forecast in report["forecasts"][:rows]]
    parts += [Text(f"ALARM {it['alarm']}: {it['text']}", "bold red") for it in report["alarms"]]
    advice = [it for it in report["advice"] if it["advice"]]
    for it in advice:
        value = f" = {it['value']}" if it["value"] is not None else ""
        parts.append(Text.assemble((f"{it['setting']}{value}", "cyan"), f": {it['advice']}"))
    return Group(*parts)


def _head(report: Report) -> Iterable[Text]:
    cost, known = report["cost_milliseconds"], report["attribution"]
    names = [it["name"] for it in report["namespaces"]]
    where = f"{len(names)} network namespaces" if len(names) > 1 else _alone(names[0])
    other = max(0.0, cost["total"] - cost["dump"] - cost["owners"] - cost["count"])
    yield Text.assemble(
        (time.strftime("%H:%M:%S", time.localtime(report["time"])), "bold"),
        f"  {where}; this sample took {cost['total']:.0f} ms (sockets {cost['dump']:.0f},"
        f" owners {cost['owners']:.0f}, counting {cost['count']:.0f}, other {other:.0f});"
        f" {cost['processor_share']:.1%} of one processor",
    )
    yield Text("  ".join(_named(report["states"])), "bold")
    both = f"IPv4 {report['ipv4']['time_wait']:,}, IPv6 {report['ipv6']['time_wait']:,}"
    closed = report["closed"]
    yield Text(
        f"TIME_WAIT: {both}. Closed first: this end as client"
        f" {closed['here_as_client']:,}, as server {closed['here_as_server']:,};"
        f" the peer {closed['by_peer']:,}"
    )
    yield Text(_coverage(report))
    for text in report["unreachable"]:
        yield Text(f"Not watched: network namespace {text}", "yellow")
    if known["lost_events"]:
        yield Text(f"{known['lost_events']:,} events of the tracepoint were lost", "yellow")


def _alone(name: str) -> str:
    return "this network namespace" if name == OWN else f"network namespace {name}"


def _coverage(report: Report) -> str:
    known = report["attribution"]
    text = f"Owners by {known['method']}"
    if known["method"] == "polling":
        text += f" ({known['reason']})"
    if known["coverage"] is not None:
        text += f": known for {known['coverage']:.1%} of TIME_WAIT since the start"
    by = ", ".join(
        f"{count:,} by {how}" for how, count in known["known_by"].items() if how != "unknown"
    )
    if by:
        text += f"; {by}"
    if known["before_start"]:
        text += f"; {known['before_start']:,} are from before the start"
    if known["unreadable_processes"]:
        unreadable = counted(known["unreadable_processes"], "process", "processes")
        text += f"; {unreadable} could not be read"
    return text


def _named(states: States) -> list[str]:
    return [
        f"{name.upper()} {count:,}"
        for name, count in states.items()
        if count or name == "time_wait"
    ]


def _table(title: str, heads: Sequence[str], left: int, several: bool) -> Table:
    """A table whose first `left` columns are words, and the others numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    if several:
        table.add_column("namespace")
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index < left else "right", no_wrap=index >= left)
    return table


def _add(table: Table, *cells: str, style: str = "") -> None:
    """Add a row of plain text: a name with brackets is not markup."""
    table.add_row(*map(Text, cells), style=style)


def _space(namespace: str, several: bool) -> list[str]:
    return [namespace] if several else []


def _owners(rows: Sequence[OwnerReport], several: bool) -> Table:
    heads = ("process", "pid", *_SHOWN, "other", "since", "until", "known by")
    table = _table("By process", heads, 1, several)
    for row in rows:
        states = row["states"]
        shown = [states.get(name, 0) for name in _SHOWN]
        ended = f"({row['processes']} ended)" if row["processes"] else ""
        _add(
            table,
            *_space(row["namespace"], several),
            row["process"] or "not known",
            str(row["pid"]) if row["pid"] is not None else ended,
            *(f"{count:,}" for count in shown),
            f"{row['sockets'] - sum(shown):,}",
            *_times(row["time_wait"]),
            ", ".join(how for how in row["known_by"] if how != "unknown"),
        )
    return table


def _times(waiting: Waiting | None) -> tuple[str, str]:
    if waiting is None:
        return "", ""
    since, until = (
        time.strftime("%H:%M:%S", time.localtime(moment))
        for moment in (waiting["since"], waiting["until"])
    )
    return since, until


def _budgets(rows: Sequence[BudgetReport], several: bool) -> Table:
    heads = (
        "from",
        "to",
        "process",
        "used",
        "ports",
        "half used",
        "per s",
        "slow in",
        "exhausted in",
    )
    table = _table("Local ports by source and destination", heads, 3, several)
    for row in rows:
        half = max(row["connect_half"], row["bind_half"], key=lambda it: it["used"])
        share = half["used"] / half["ports"] if half["ports"] else 1.0
        style = "red" if share >= _FULL else "yellow" if share >= _HALF_FULL else ""
        _add(
            table,
            *_space(row["namespace"], several),
            row["source"],
            _where(row),
            row["process"] or "not known",
            f"{row['used']:,}",
            f"{row['ports']:,}",
            f"{share:.0%}",
            f"{row['closed_per_second']:,.0f}",
            seconds_text(row["cliff_seconds"]),
            seconds_text(row["exhaustion_seconds"]),
            style=style,
        )
    return table


def _where(row: BudgetReport) -> str:
    return host_port(row["destination"], row["port"])


def _ends(report: Report, rows: int, several: bool) -> Table:
    """Local ports and remotes side by side."""
    both = Table(box=None, pad_edge=False, show_header=False)
    both.add_column()
    both.add_column()
    ports = _table("By local port", ("port", *_SHOWN), 1, several)
    for row in report["local_ports"][:rows]:
        counts = (f"{row['states'].get(name, 0):,}" for name in _SHOWN)
        port = str(row["port"]) if row["port"] else "of clients"
        _add(ports, *_space(row["namespace"], several), port, *counts)
    remotes = _table("By remote", ("address", "port", *_SHOWN), 2, several)
    for remote in report["remotes"][:rows]:
        counts = (f"{remote['states'].get(name, 0):,}" for name in _SHOWN)
        port = str(remote["port"] or "any")
        _add(remotes, *_space(remote["namespace"], several), remote["address"], port, *counts)
    both.add_row(ports, remotes)
    return both


def seconds_text(seconds: float | None) -> str:
    """A forecast's time: `now`, `34 s`, `5 min`; a dash if it is not expected."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return "now"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def forecast_text(forecast: Forecast) -> str:
    """A forecast as a sentence."""
    when = seconds_text(forecast["seconds"])
    return f"{forecast['text']} {when if when == 'now' else f'in {when}'}"


def _forecast_line(forecast: Forecast, several: bool) -> Text:
    style = "bold red" if forecast["seconds"] <= _URGENT_SECONDS else "yellow"
    where = f" (namespace {forecast['namespace']})" if several else ""
    by = f"; most of these ports are used by {forecast['process']}" if forecast["process"] else ""
    return Text(f"Forecast: {forecast_text(forecast)}{by}{where}", style)
