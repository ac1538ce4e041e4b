"""The commands of `vespiary trace` that read a project: scan, report, gate, snapshot, why."""

import difflib
import os
from pathlib import Path

import click

from vespiary._counted import counted
from vespiary.cli._help import Command
from vespiary.cli._trace_options import config_option, evidence_option
from vespiary.errors import ConfigurationError
from vespiary.prove.trace import files
from vespiary.prove.trace.gates import worse
from vespiary.prove.trace.marks import Problem
from vespiary.prove.trace.page import as_page
from vespiary.prove.trace.report import Report, as_json, as_snapshot, as_text, made
from vespiary.prove.trace.scan import scan
from vespiary.prove.trace.settings import Settings, read_settings

__all__ = ["gate", "report", "scan_command", "snapshot", "why"]


@click.command("scan", cls=Command)
@config_option
@click.option("--strict", is_flag=True, help="Also fail for warnings.")
def scan_command(config: Path, *, strict: bool) -> None:
    """Read the catalogues and the sources, and report contradictions.

    Unknown identifiers, empty marks and claims without a mark are errors; marks that no test claims
    are warnings.

    \b
    Exit codes:
      0  nothing is wrong
      1  something is wrong
      2  the settings or a catalogue are wrong
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    project = scan(read_settings(config))
    marks = sum(len(found) for found in project.marks.values())
    claims = sum(len(found) for found in project.claims.values())
    click.echo(
        f"{counted(len(project.requirements), 'requirement')}: {len(project.marks)} marked"
        f" ({counted(marks, 'mark')}), {len(project.claims)} claimed ({counted(claims, 'claim')});"
        f" {counted(project.files, 'source')} read"
    )
    _tell(project.problems)
    if project.errors or (strict and project.problems):
        raise click.exceptions.Exit(1)


@click.command("report", cls=Command)
@config_option
@click.option(
    "--html",
    "html_path",
    type=click.Path(path_type=Path),
    help="Write the report as a web page to this file.",
)
@click.option(
    "--json",
    "json_path",
    metavar="FILE|-",
    help="Write the report as JSON to this file. - writes it to standard output.",
)
@evidence_option
@click.option("--title", help="The heading of the web page.  [default: Requirements]")
@click.option(
    "--link",
    metavar="TEMPLATE",
    help="The address of a line of the source, such as https://.../blob/main/{file}#L{line}."
    "  [default: the local file]",
)
def report(
    config: Path,
    html_path: Path | None,
    json_path: str | None,
    evidence: str | None,
    title: str | None,
    link: str | None,
) -> None:
    """Report the status of each requirement.

    The statuses, from the lowest to the highest: unmapped, implemented, executed, reached, proven,
    confirmed.

    \b
    Exit codes:
      0  there is no contradiction; the command gate checks the gates
      1  catalogues, sources and evidence contradict one another
      2  the settings, a catalogue or the evidence are wrong
    """  # noqa: D301
    if not html_path and (title is not None or link is not None):
        raise click.UsageError("--title and --link are for the web page: add --html FILE")
    settings = read_settings(config)
    made_report = _made(settings, evidence)
    if html_path:
        if link is not None and ("{file}" not in link or "{line}" not in link):
            raise click.UsageError(f"--link must contain {{file}} and {{line}}; got {link!r}")
        base = os.path.relpath(settings.root.resolve(), html_path.resolve().parent)
        near = "{file}#L{line}" if base == "." else base + "/{file}#L{line}"
        page = as_page(made_report, title or "Requirements", link or near)
        files.write(html_path, page)
    if json_path == "-":
        click.echo(as_json(made_report), nl=False)
    else:
        if json_path:
            files.write(Path(json_path), as_json(made_report))
        click.echo(as_text(made_report))
        _tell(made_report.problems)
    if made_report.errors:
        raise click.exceptions.Exit(1)


@click.command("gate", cls=Command)
@config_option
@evidence_option
@click.option(
    "--no-worse-than",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="SNAPSHOT",
    help="Also fail for each requirement whose status is lower than in this snapshot.",
)
def gate(config: Path, evidence: str | None, no_worse_than: Path | None) -> None:
    """Fail if the status of a requirement is lower than a gate in the settings requires.

    While not all gates pass yet, use --no-worse-than to check that no status becomes lower.

    \b
    Exit codes:
      0  every requirement passes its gate
      1  a requirement does not pass, or catalogues, sources and evidence contradict one another
      2  the settings, a catalogue or the evidence are wrong
    """  # noqa: D301
    settings = read_settings(config)
    if not settings.gates and not no_worse_than:
        raise ConfigurationError(
            f"{config} has no gates: add a [[gate]] table, or use --no-worse-than"
        )
    made_report = _made(settings, evidence)
    fallen = worse(made_report.standings, no_worse_than) if no_worse_than else []
    below = list(dict.fromkeys([*made_report.offenders, *fallen]))
    waiting = _waiting(made_report)
    _tell([*made_report.errors, *(one for one in below if one.where not in waiting)])
    if any(one.where in waiting for one in below):
        click.echo(
            f"no evidence: {settings.evidence} does not exist: run vespiary trace prove first"
        )
        raise click.exceptions.Exit(1)
    count = len(below)
    if count or made_report.errors:
        click.echo(_outcome(count, len(made_report.errors)))
        raise click.exceptions.Exit(1)
    click.echo("every requirement passes its gate")


@click.command("snapshot", cls=Command)
@config_option
@evidence_option
@click.option("--check", is_flag=True, help="Write nothing; fail if the file would change.")
def snapshot(config: Path, evidence: str | None, *, check: bool) -> None:
    """Write one line per requirement, with its status and tests, to compare in a review."""
    settings = read_settings(config)
    path = settings.root / settings.snapshot
    made_report = _made(settings, evidence)
    if not made_report.traced:
        raise click.ClickException(
            "there is no evidence, so every status would be implemented: run vespiary trace prove"
        )
    text = as_snapshot(made_report)
    if not check:
        files.write(path, text)
        return
    if not path.exists():
        raise click.ClickException(f"{path} does not exist: vespiary trace snapshot writes it")
    before = files.read(path)
    if before == text:
        click.echo(f"{path} is up to date")
        return
    for line in difflib.unified_diff(
        before.splitlines(), text.splitlines(), str(path), "now", lineterm="", n=0
    ):
        click.echo(line)
    raise click.ClickException(f"{path} is not up to date: run vespiary trace snapshot")


@click.command("why", cls=Command)
@click.argument("identifier", metavar="[ID]", required=False)
@config_option
@click.option(
    "--missing", is_flag=True, help="List the requirements whose reason is not documented."
)
def why(identifier: str | None, config: Path, *, missing: bool) -> None:
    """Print the reason for a requirement, where it is documented, and where its code is."""
    if missing and identifier is not None:
        raise click.UsageError("give an ID or --missing, not both")
    made_report = made(read_settings(config))
    if missing:
        for standing in made_report.standings:
            requirement = standing.requirement
            if not requirement.why and not requirement.excluded:
                click.echo(f"{requirement.id}  {requirement.level}  {requirement.says}".rstrip())
        return
    if identifier is None:
        raise click.UsageError("which requirement? Give its ID, or --missing")
    found = [s for s in made_report.standings if s.requirement.id == identifier]
    if not found:
        ids = list(made_report.project.requirements)
        near = difflib.get_close_matches(identifier, ids, n=1, cutoff=0)
        raise click.UsageError(f"no requirement {identifier}: did you mean {near[0]}?")
    requirement = found[0].requirement
    click.echo(f"{requirement.id}  {requirement.level}  {found[0].status}")
    click.echo(f"says: {requirement.says or 'not described'}")
    source = f" ({requirement.source})" if requirement.source else ""
    click.echo(f"why: {requirement.why or 'not documented'}{source}")
    for item in found[0].code:
        click.echo(f"code: {item.mark.place} {item.mark.function}".rstrip())
    for test in found[0].tests:
        click.echo(f"test: {test.id}")


def _outcome(below: int, errors: int) -> str:
    """What keeps the gate closed, as one sentence."""
    found = f"there {'is' if errors == 1 else 'are'} {counted(errors, 'error')}"
    if not below:
        return f"every requirement passes its gate, but {found}"
    failing = counted(
        below, "requirement does not pass its gate", "requirements do not pass their gate"
    )
    return f"{failing}, and {found}" if errors else failing


def _waiting(report: Report) -> set[str]:
    """The places of requirements of which nothing but a traced run can say more."""
    if report.traced:
        return set()
    return {
        f"{standing.requirement.file}:{standing.requirement.line}"
        for standing in report.standings
        if standing.status == "implemented" and not standing.requirement.suspect
    }


def _made(settings: Settings, evidence: str | None) -> Report:
    """The report; evidence that was asked for by name must be there."""
    if evidence is not None:
        settings = settings.with_evidence(evidence)
        if not (settings.root / settings.evidence).exists():
            raise ConfigurationError(f"{evidence} cannot be read: there is no such file")
    return made(settings)


def _tell(problems: list[Problem]) -> None:
    for problem in problems:
        click.echo(f"{'error' if problem.error else 'warning'}: {problem}")
