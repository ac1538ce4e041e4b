"""The report as one page of HTML that needs no network, and no script to be read.

Each requirement is a `details` element, so that the page works by keyboard and reads well aloud.
The script only filters: without it everything is shown.
"""

from collections import Counter
from collections.abc import Iterable
from html import escape
from urllib.parse import quote

from vespiary._counted import counted
from vespiary.prove.trace.catalogue import ROLES
from vespiary.prove.trace.gates import reason
from vespiary.prove.trace.marks import Mark
from vespiary.prove.trace.normative import LEVELS
from vespiary.prove.trace.page_parts import HOW, MEANINGS, SCRIPT, STYLE, VERDICTS
from vespiary.prove.trace.proving.record import SKIPPED
from vespiary.prove.trace.report import STATUSES, Report
from vespiary.prove.trace.status import Standing

__all__ = ["as_page"]


_FIRST = ("executed", "implemented", "unmapped", "todo", "reached", "proven", "confirmed")
"""The order of the requirements: first what has marks and is not proven, then what nobody has begun
with. Those that are excluded come last."""


def as_page(report: Report, title: str = "Requirements", link: str = "{file}#L{line}") -> str:
    """The page.

    Args:
        report: What to show.
        title: Its heading.
        link: The address of a line of a source, with `{file}` and `{line}` in it; relative to where
            the page lies if it is not absolute.
    """
    order = {status: place for place, status in enumerate(_FIRST)}
    standings = sorted(report.standings, key=lambda one: order.get(one.status, len(order)))
    names = [catalogue.name for catalogue in report.project.catalogues]
    own_roles = [role for catalogue in report.project.catalogues for role in catalogue.roles]
    return "\n".join([
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<header><h1>{escape(title)}</h1></header>",
        '<main>',
        _totals(report),
        _contents(report),
        _filters(names, [*ROLES, *dict.fromkeys(own_roles)]),
        '<section aria-label="Requirements" id="requirements">',
        *(_requirement(report, standing, link) for standing in standings),
        "</section>",
        _table(report),
        _meanings(),
        _problems(report),
        _limits(report),
        f"</main><script>{SCRIPT}</script></body></html>",
        "",
    ])  # fmt: skip


def _totals(report: Report) -> str:
    """How many requirements have which status, in one line."""
    count = Counter(standing.status for standing in report.standings)
    parts = "".join(
        f'<button type="button" class="status {status}" value="{status}" disabled'
        f' title="{escape(MEANINGS[status], quote=True)}">{status} <b>{count[status]:,}</b>'
        "</button>"
        for status in STATUSES
        if count[status]
    )
    text = "Without a traced run, no status is higher than implemented."
    traced = "" if report.traced else f"<p>{text}</p>"
    return f'{traced}<p class="totals" id="totals">{parts}</p>'


def _meanings() -> str:
    """What each status means."""
    rows = "".join(
        f'<dt><span class="status {status}">{status}</span></dt><dd>{escape(MEANINGS[status])}</dd>'
        for status in STATUSES
    )
    return f'<h2 id="statuses">What the statuses mean</h2><dl>{rows}</dl>'


def _table(report: Report) -> str:
    """A table: each specification and level, and how many have which status."""
    count = Counter(
        (s.requirement.specification, s.requirement.level, s.status) for s in report.standings
    )
    used = [status for status in STATUSES if any(s.status == status for s in report.standings)]
    head = "".join(f'<th scope="col">{status}</th>' for status in used)
    rows = []
    for catalogue in report.project.catalogues:
        for level in (*LEVELS, "must"):
            numbers = [count[catalogue.name, level, status] for status in used]
            if any(numbers):
                cells = "".join(f"<td>{number or ''}</td>" for number in numbers)
                rows.append(
                    f'<tr><th scope="row">{escape(catalogue.name)}</th><td class="name">{level}'
                    f"</td>{cells}</tr>"
                )
    return (
        '<h2 id="levels">By specification and level</h2><div class="scroll"><table><thead><tr>'
        '<th scope="col" class="name">Specification</th><th scope="col" class="name">Level</th>'
        f"{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _contents(report: Report) -> str:
    count = len(report.offenders) + len(report.problems)
    return (
        f'<nav><a href="#problems">Problems ({count})</a>'
        ' <a href="#levels">By specification and level</a>'
        ' <a href="#statuses">What the statuses mean</a>'
        ' <a href="#limits">What this report cannot see</a></nav>'
    )


def _filters(names: list[str], roles: list[str]) -> str:
    selects = "".join(
        f'<label>{label}<select name="{key}"><option value="">all</option>'
        + "".join(f"<option>{escape(value)}</option>" for value in values)
        + "</select></label>"
        for key, label, values in (
            ("specification", "Specification", names),
            ("level", "Level", [*LEVELS, "must"]),
            ("role", "Role", roles),
            ("status", "Status", list(STATUSES)),
            ("why", "Reason", ["known", "missing"]),
        )
    )
    return (
        '<form id="filters" role="search" hidden><label class="wide">Search'
        f'<input type="search" name="text" autocomplete="off"></label>{selects}'
        '<button type="reset">Show all</button>'
        '<output name="count" aria-live="polite"></output></form>'
    )


def _requirement(report: Report, standing: Standing, link: str) -> str:
    requirement = standing.requirement
    roles = escape(" ".join(requirement.role))
    identifier = escape(requirement.id, quote=True)
    sentence = report.sentences.get(requirement.id, "")
    body = [
        # Without a paraphrase it is what the line above the details shows.
        _line("Sentence", f"<q>{escape(sentence)}</q>") if sentence and requirement.says else "",
        _line("Section", _section(report, standing)) if requirement.section else "",
        _line("Why", f"{escape(requirement.why)}{_source(requirement.source)}"
              if requirement.why else "no reason is documented"),
        _line("Excluded", escape(requirement.excluded)) if requirement.excluded else "",
        _line("To do", _link(requirement.todo)) if requirement.todo else "",
        *(
            _line("Erratum", f"{erratum.number}, {erratum.status}: {escape(erratum.note)}")
            for erratum in report.project.errata(requirement.id)
        ),
        _line("List", f"it introduces {counted(requirement.items, 'item')}")
        if requirement.items
        else "",
        _line("Suspect", "its sentence has changed since") if requirement.suspect else "",
        _line("Same as", escape(requirement.same_as)) if requirement.same_as else "",
        _line("Code", _code(standing, link)) if standing.code else "",
        _line("Tests", _tests(report, standing, link)) if standing.tests else "",
        _line("From outside", _list(escape(by) for by in standing.outside))
        if standing.outside else "",
    ]  # fmt: skip
    return (
        f'<details id="{identifier}" data-specification="{escape(requirement.specification)}"'
        f' data-level="{requirement.level}" data-role="{roles}" data-status="{standing.status}"'
        f' data-why="{"known" if requirement.why else "missing"}">'
        f"<summary><code>{identifier}</code> <b>{requirement.level}</b>"
        f' <span class="status {standing.status}">{standing.status}</span>'
        f" <i>{roles}</i>"
        f" {escape(requirement.says or sentence) or '(not described)'}{_reason(standing)}</summary>"
        f"<dl>{''.join(body)}</dl></details>"
    )


def _reason(standing: Standing) -> str:
    """What keeps it from being proven, on the line itself."""
    words = reason(standing)
    return f'<span class="reason">{escape(words)}</span>' if words else ""


def _section(report: Report, standing: Standing) -> str:
    """The section, as a link where the catalogue has an address."""
    requirement = standing.requirement
    urls = {catalogue.name: catalogue.url for catalogue in report.project.catalogues}
    url, number = urls.get(requirement.specification, ""), requirement.section
    if not url.startswith(("https://", "http://")):
        return escape(number)
    kind = (
        "section" if number[:1].isdigit() else "appendix" if len(number.split(".")[0]) == 1 else ""
    )
    anchor = f"{kind}-{number}" if kind else number
    return f'<a href="{escape(url.partition("#")[0], quote=True)}#{anchor}">{escape(number)}</a>'


def _line(term: str, html: str) -> str:
    return f"<dt>{term}</dt><dd>{html}</dd>"


def _link(address: str) -> str:
    return f'<a href="{escape(address, quote=True)}">{escape(address)}</a>'


def _source(source: str) -> str:
    if source.startswith(("https://", "http://")):
        return f' (<a href="{escape(source, quote=True)}">{escape(source)}</a>)'
    return f" ({escape(source)})" if source else ""


def _href(link: str, mark: Mark) -> str:
    return link.replace("{file}", quote(mark.file)).replace("{line}", str(mark.line))


def _code(standing: Standing, link: str) -> str:
    links = []
    for item in standing.code:
        href = _href(link, item.mark)
        within = f" in {escape(item.mark.function)}" if item.mark.function else ""
        how = f", {HOW[item.how]}" if item.how in HOW else ""
        verdict = f": {VERDICTS[item.verdict]}{how}" if item.verdict else ""
        if item.together:
            verdict += f" (disabled together with {escape(', '.join(item.together))})"
        links.append(
            f'<a href="{escape(href, quote=True)}">{escape(item.mark.place)}</a>{within}{verdict}'
        )
    return _list(links)


def _tests(report: Report, standing: Standing, link: str) -> str:
    lines = []
    claims = report.project.claims.get(standing.requirement.id, [])
    places = {claim.function.rsplit(".", 1)[-1]: claim for claim in claims}
    for test in standing.tests:
        also = ", and passes without it too" if test.survives else ""
        evidence = "it fails without the code" if test.proves else (
            f"executes the code{also}" if test.acted else "does not execute the code"
        )  # fmt: skip
        if test.outcome in ("not run", *SKIPPED):
            evidence = "no evidence"
        many = f" ({test.tests} tests)" if test.tests > 1 else ""
        name = f"<code>{escape(test.id)}</code>"
        claim = places.get(test.id.rsplit("::", 1)[-1])
        if claim:
            name = f'<a href="{escape(_href(link, claim), quote=True)}">{name}</a>'
        lines.append(f"{name}{many}: {escape(test.outcome)}; {evidence}")
    return _list(lines)


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _problems(report: Report) -> str:
    told = [*report.offenders, *report.problems]
    if not told:
        return '<h2 id="problems">Problems</h2><p>None.</p>'
    return f'<h2 id="problems">Problems</h2>{_list(escape(str(problem)) for problem in told)}'


def _limits(report: Report) -> str:
    words = _list(escape(words) for words in report.limits)
    return f'<h2 id="limits">What this report cannot see</h2>{words}'
