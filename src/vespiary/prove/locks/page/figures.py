"""The full mode's part of the page: tables of locks and of classes, and time lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape

from vespiary._counted import counted
from vespiary.prove.locks.figures import duration
from vespiary.prove.locks.page.parts import fold, number, span, stack, table
from vespiary.prove.locks.statistics import Group, Place, Statistics

__all__ = ["processes"]

_PROCESSES_MAX = 8
_ROWS_MAX = 500
_DETAILED = 60
_DRAWN_MAX = 20
_CONVOYS_MAX = 5

_HEAD = ("lock", "taken", "waited", "wait total", "wait p90", "wait max")
_HEAD_MORE = ("hold total", "hold p90", "hold max", "failed", "queue")


def processes(found: Sequence[Statistics]) -> str:
    """The part about all processes: those that took locks most often, and the others in a table."""
    busiest = sorted(
        (each for each in found if each.acquisitions), key=lambda each: -each.acquisitions
    )
    parts = [_process(each) for each in busiest[:_PROCESSES_MAX]]
    rows = [
        f"<tr><td>process {each.process}</td>{number(each.acquisitions, f'{each.acquisitions:,}')}"
        f"{number(len(each.locks), f'{len(each.locks):,}')}"
        f"{number(each.span_ns, duration(each.span_ns))}</tr>"
        for each in busiest[_PROCESSES_MAX:]
    ]
    if rows:
        others = table(("process", "taken", "locks", "for"), rows)
        more = counted(len(rows), "more process", "more processes")
        parts.append(fold(f"{more}, which the JSON report has", others))
    return "".join(parts)


def _process(found: Statistics) -> str:
    """The part about one process."""
    identity = f"locks-{found.process}-{found.begin_ns}"
    parts = [
        f"<h3>Process {found.process}</h3>",
        f'<p class="soft">{counted(found.acquisitions, "acquisition")} of'
        f" {counted(len(found.locks), 'lock')} in {duration(found.span_ns)}.",
    ]
    if found.lost:
        parts.append(f" {found.lost:,} later ones found no room; <code>--full-max</code> allows.")
    parts.append("</p>")
    parts += [_convoy(group) for group in found.locks if group.is_convoy][:_CONVOYS_MAX]
    parts.append(_timeline(found, f"{identity}-spans"))
    parts.append(
        f'<div class="controls"><input type="search" data-filters="{identity}" aria-label="Filter'
        f' locks" placeholder="Filter: a lock, a thread, a function, a file">'
        f'<span class="soft" id="{identity}-count">{len(found.locks[:_ROWS_MAX])} of'
        f" {len(found.locks):,}</span></div>"
    )
    parts.append(_groups(found.locks, identity))
    if found.classes:
        inner = '<p class="soft">Locks that were made at one place, taken together.</p>'
        inner += _groups(found.classes, f"{identity}-classes")
        title = f"By where they were made: {counted(len(found.classes), 'class', 'classes')}"
        parts.append(fold(title, inner))
    return f'<div class="panel">{"".join(parts)}</div>'


def _groups(groups: Sequence[Group], identity: str) -> str:
    rows = [_row(group, place < _DETAILED) for place, group in enumerate(groups[:_ROWS_MAX])]
    markup = table((*_HEAD, *_HEAD_MORE), rows, identity=identity)
    if len(groups) > _ROWS_MAX:
        markup += f'<p class="soft">{len(groups) - _ROWS_MAX:,} more are in the JSON report.</p>'
    return markup


def _row(group: Group, is_detailed: bool) -> str:
    name = span("lock", group.name)
    cell = fold(name, _detail(group)) if is_detailed else name
    wait, hold = group.wait, group.hold
    figures = [
        number(group.acquisitions, f"{group.acquisitions:,}"),
        number(wait.count, f"{wait.count:,}"),
        *(number(value, duration(value)) for value in (wait.total_ns, wait.p90_ns, wait.max_ns)),
        *(number(value, duration(value)) for value in (hold.total_ns, hold.p90_ns, hold.max_ns)),
        number(group.failed, f"{group.failed:,}"),
        number(group.queue_max, str(group.queue_max)),
    ]
    text = escape(_searched(group))
    return f'<tr data-text="{text}"><td>{cell}</td>{"".join(figures)}</tr>'


def _searched(group: Group) -> str:
    """What the filter looks through: names, and places without the source around them."""
    places = [*group.waits_at, *group.holds_at]
    frames = [
        frame for stack in (group.made, *(place.stack for place in places)) for frame in stack
    ]
    names = (part for frame in frames for part in (frame.function, frame.file or frame.module))
    threads = (use.thread for use in group.uses)
    return " ".join(dict.fromkeys((group.name, *threads, *names))).lower()


def _detail(group: Group) -> str:
    uses = [
        f"<tr><td>{span('thread', use.thread)}</td>"
        + number(use.acquisitions, f"{use.acquisitions:,}")
        + number(use.wait_ns, duration(use.wait_ns))
        + number(use.hold_ns, duration(use.hold_ns))
        + "</tr>"
        for use in group.uses[:30]
    ]
    parts = [
        table(("thread", "taken", "waited", "held"), uses, kind="plain"),
        _places("Waited for longest at", group.waits_at),
        _places("Held longest at", group.holds_at),
        fold("Made or first taken at", stack(group.made, is_brief=True)),
    ]
    return f'<div class="inner">{"".join(parts)}</div>'


def _places(title: str, places: Iterable[Place]) -> str:
    rows = [
        f"<li>{duration(place.total_ns)} in {place.count:,} times,"
        f" {duration(place.max_ns)} at most{stack(place.stack, 1, is_brief=True)}</li>"
        for place in list(places)[:3]
    ]
    return f"<p>{title}</p><ol>{''.join(rows)}</ol>" if rows else ""


def _convoy(group: Group) -> str:
    text = (
        f"<p>{span('lock', group.name)}: threads queued for it, up to {group.queue_max} at a time,"
        f" for {duration(group.wait.total_ns)} in all.</p>"
    )
    return f'<div class="advice">{text}{_places("Held longest at", group.holds_at[:1])}</div>'


def _timeline(found: Statistics, identity: str) -> str:
    """A time line of the locks that were waited for or held longest, drawn by the page itself."""
    drawn = [group for group in found.locks if group.spans][:_DRAWN_MAX]
    if not drawn:
        return ""
    threads = sorted({each.thread for group in drawn for each in group.spans})
    data = {
        "span_ns": max(1, found.span_ns),
        "threads": {str(thread): found.threads.get(thread, "") for thread in threads},
        "locks": [
            {
                "name": group.name,
                "spans": [
                    [each.thread, int(each.waits), each.begin_ns, each.end_ns]
                    for each in group.spans
                ],
            }
            for group in drawn
        ],
    }
    locks = _options("Locks", "lock", [group.name for group in drawn])
    of_threads = {thread: found.threads.get(thread, f"thread {thread}") for thread in threads}
    options = locks + _options("Threads", "thread", of_threads)
    # In a script's text only `<` could end it, or begin a comment.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<script type="application/json" id="{identity}">{text}</script>'
        f'<div class="controls"><label>Time line of <select id="{identity}-choice">'
        f"{options}</select></label>"
        '<span><span class="key wait"></span>waits</span>'
        '<span><span class="key hold"></span>holds</span></div>'
        f'<svg class="timeline" data-from="{identity}" role="img" aria-label="Time line"></svg>'
    )


def _options(title: str, kind: str, names: Sequence[str] | dict[int, str]) -> str:
    """A group of choices, each of which tells its kind and number."""
    numbered = names.items() if isinstance(names, dict) else enumerate(names)
    options = [f'<option value="{kind}:{at}">{escape(name)}</option>' for at, name in numbered]
    return f'<optgroup label="{title}">{"".join(options)}</optgroup>'
