"""The results as a picture: a table of bars, one column a scenario, drawn as plain SVG."""

from collections.abc import Mapping, Sequence
from html import escape

from benches.catalogue import Server, Transport
from benches.scenarios import Scenario
from benches.summary import Summary

NAME_WIDTH = 230
COLUMN_WIDTH = 190
BAR_WIDTH = 90
ROW_HEIGHT = 22
HEAD_HEIGHT = 82
TEXT = "font-family='system-ui, sans-serif' font-size='12'"
COLOURS = {"ours": "#d98a00", "peer": "#7d8ca3", "other": "#5b9a68"}
CAPTIONS = (
    "CPU microseconds of the server for each message: median (ratio).",
    "Shorter is better. Bars are of one scale within a column and a block.",
)


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f"<text x='{x:.0f}' y='{y:.0f}' {TEXT} {more}>{escape(words)}</text>"


def _value(cpu: float, ratio: float | None) -> str:
    number = f"{cpu:.1f}" if cpu >= 10 else f"{cpu:.2f}"
    return number if ratio is None else f"{number} ({ratio:.2f})"


def _block(
    summary: Summary,
    servers: Sequence[Server],
    scenarios: Sequence[Scenario],
    base: str,
    top: int,
) -> list[str]:
    """The rows of one transport."""
    parts: list[str] = []
    for column, scenario in enumerate(scenarios):
        left = NAME_WIDTH + column * COLUMN_WIDTH
        spreads = [summary.spread(server.key, scenario.name, "cpu_us") for server in servers]
        longest = max((spread.median for spread in spreads if spread), default=1.0)
        for row, (server, spread) in enumerate(zip(servers, spreads, strict=True)):
            if spread is None:
                continue
            y = top + row * ROW_HEIGHT
            width = max(1.0, spread.median / longest * BAR_WIDTH)
            ratio = summary.ratio(server.key, base, scenario.name, "cpu_us")
            parts.append(
                f"<rect x='{left}' y='{y + 4}' width='{width:.1f}' height='14' rx='2' "
                f"fill='{COLOURS[server.kind]}'/>"
            )
            words = _value(spread.median, ratio.median if ratio else None)
            parts.append(_text(left + width + 5, y + 15, words))
    for row, server in enumerate(servers):
        weight = "font-weight='600'" if server.kind == "ours" else ""
        y = top + row * ROW_HEIGHT + 15
        parts.append(_text(NAME_WIDTH - 10, y, server.name, f"text-anchor='end' {weight}"))
    return parts


def _ordered(
    summary: Summary, servers: Sequence[Server], scenarios: Sequence[Scenario], transport: str
) -> list[Server]:
    """The measured servers of a transport, the fastest in the first scenario at the top."""

    def measured(server: Server) -> float | None:
        for scenario in scenarios:
            spread = summary.spread(server.key, scenario.name, "cpu_us")
            if spread is not None:
                return spread.median
        return None

    found = [(measured(server), server) for server in servers if server.transport == transport]
    known = [(value, server) for value, server in found if value is not None]
    everywhere = [pair for pair in known if not pair[1].scenarios]
    return [server for _, server in sorted(everywhere, key=lambda pair: pair[0])]


def svg(
    summary: Summary,
    servers: Sequence[Server],
    scenarios: Sequence[Scenario],
    footer: str,
    bases: Mapping[Transport, str],
) -> str:
    """Draw the echo scenarios.

    `footer` says when and on what they were measured; `bases` names for each transport the server
    that ratios are taken to.
    """
    echo = [scenario for scenario in scenarios if scenario.kind == "echo"]
    width = NAME_WIDTH + COLUMN_WIDTH * len(echo) + 10
    parts = [_text(10, 20 + 16 * line, words) for line, words in enumerate(CAPTIONS)]
    for column, scenario in enumerate(echo):
        left = NAME_WIDTH + column * COLUMN_WIDTH
        parts.append(_text(left, 62, scenario.name, "font-weight='600'"))
        parts.append(_text(left, 76, scenario.title, "font-style='italic'"))
    top = HEAD_HEIGHT
    for transport, base in bases.items():
        block = _ordered(summary, servers, echo, transport)
        if not block:
            continue
        title = {"ws": "WebSocket", "tcp": "TCP", "udp": "UDP"}[transport]
        parts.append(_text(10, top + 16, title, "font-weight='600'"))
        parts += _block(summary, block, echo, base, top + ROW_HEIGHT)
        top += ROW_HEIGHT * (len(block) + 1) + 12
    parts.append(_text(10, top + 16, footer, "opacity='0.7'"))
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{top + 30}' "
        f"viewBox='0 0 {width} {top + 30}' fill='#222'>\n"
        f"<rect width='100%' height='100%' fill='#fff'/>\n{body}\n</svg>\n"
    )
