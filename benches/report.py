"""The results as Markdown."""

from collections.abc import Mapping, Sequence

from benches.catalogue import Server, Transport
from benches.scenarios import Scenario
from benches.summary import Spread, Summary
from benches.targets import TARGETS

TITLES: Mapping[Transport, str] = {"ws": "WebSocket", "tcp": "TCP", "udp": "UDP"}
ECHO_HEAD = (
    "| server | CPU us/message | ratio | messages/s | p50 us | p99 us | p99.9 us | client busy |"
)
IDLE_HEAD = "| server | resident bytes each | accept all, s | CPU us to open one | CPU ratio |"


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 20 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _cell(spread: Spread | None) -> str:
    return "" if spread is None else _number(spread.median)


def _ratio(spread: Spread | None) -> str:
    if spread is None:
        return ""
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"


def _rows(head: str) -> list[str]:
    columns = head.count("|") - 1
    return [head, "|---|" + "---:|" * (columns - 1)]


def _echo_row(summary: Summary, server: Server, scenario: str, base: str) -> str:
    def cell(figure: str) -> str:
        return _cell(summary.spread(server.key, scenario, figure))

    ratio = _ratio(summary.ratio(server.key, base, scenario, "cpu_us"))
    busy = summary.spread(server.key, scenario, "load_busy")
    cells = [
        server.name,
        f"**{cell('cpu_us')}**",
        ratio,
        cell("throughput"),
        cell("p50_us"),
        cell("p99_us"),
        cell("p999_us"),
        "" if busy is None else f"{busy.median:.0%}",
    ]
    return "| " + " | ".join(cells) + " |"


def _idle_row(summary: Summary, server: Server, scenario: str, base: str) -> str:
    cells = [
        server.name,
        f"**{_cell(summary.spread(server.key, scenario, 'resident_bytes'))}**",
        _cell(summary.spread(server.key, scenario, "accept_seconds")),
        _cell(summary.spread(server.key, scenario, "accept_cpu_us")),
        _ratio(summary.ratio(server.key, base, scenario, "accept_cpu_us")),
    ]
    return "| " + " | ".join(cells) + " |"


def _scenario(
    summary: Summary,
    servers: Sequence[Server],
    scenario: Scenario,
    bases: Mapping[Transport, str],
) -> list[str]:
    lines: list[str] = []
    idle = scenario.kind == "idle"
    order = "accept_cpu_us" if idle else "cpu_us"
    for transport, title in TITLES.items():
        measured: list[tuple[float, Server]] = []
        for server in servers:
            spread = summary.spread(server.key, scenario.name, order)
            if server.transport == transport and spread is not None:
                measured.append((spread.median, server))
        if not measured:
            continue
        lines += ["", f"### {scenario.name}, {title}: {scenario.title}", ""]
        lines += _rows(IDLE_HEAD if idle else ECHO_HEAD)
        row = _idle_row if idle else _echo_row
        base = bases[transport]
        measured.sort(key=lambda pair: pair[0])
        lines += [row(summary, server, scenario.name, base) for _, server in measured]
    return lines


def targets(summary: Summary) -> list[str]:
    """Where we stand: a table of the targets that could be judged."""
    lines = ["", "## Targets", "", "| target | at most | measured | met |", "|---|---:|---:|---|"]
    judged = 0
    for target in TARGETS:
        spread = target.measured(summary)
        if spread is None:
            continue
        judged += 1
        met = "yes" if target.is_met(spread.median) else "**no**"
        value = _ratio(spread) if target.base else _number(spread.median)
        bound = f"below {target.most:g}" if target.strict else f"{target.most:g}"
        lines.append(f"| {target.text} | {bound} | {value} | {met} |")
    return lines if judged else []


def markdown(
    summary: Summary,
    servers: Sequence[Server],
    scenarios: Sequence[Scenario],
    missing: Mapping[str, str],
    heading: Sequence[str],
    bases: Mapping[Transport, str],
) -> str:
    """The whole report.

    Args:
        summary: The results.
        servers: All that took part or should have.
        scenarios: All that were measured.
        missing: For a server's key, why it was not measured.
        heading: Lines that say what, when, where and with what.
        bases: For each transport, the key of the server that ratios are taken to.
    """
    lines = [*heading, *targets(summary), "", "## Scenarios"]
    for scenario in scenarios:
        lines += _scenario(summary, servers, scenario, bases)
    if missing:
        lines += ["", "## Missing", ""]
        lines += [f"* {key}: {reason}" for key, reason in sorted(missing.items())]
    if summary.errors:
        lines += ["", "## Failed", ""]
        for (key, name), reason in sorted(summary.errors.items()):
            lines.append(f"* {key} in {name}: {reason}")
    return "\n".join(lines) + "\n"
