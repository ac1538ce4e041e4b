"""The commands of `vespiary trace` that read a project: scan, report, gate, snapshot, why."""

import difflib
import os
from pathlib import Path

import click

from vespiary._counted import counted
from vespiary.errors import ConfigurationError
from vespiary.prove.trace.gates import worse
from vespiary.prove.trace.marks import Problem
from vespiary.prove.trace.page import as_page
from vespiary.prove.trace.report import Report, as_json, as_snapshot, as_text, made
from vespiary.prove.trace.scan import scan
from vespiary.prove.trace.settings import Settings, read_settings

__all__ = ["gate", "report", "scan_command", "snapshot", "why"]

_config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("trace.toml"),
    show_default=True,
    help="The project's settings; its folder is the project's root.",
)


@click.command("scan")
@_config
@click.option("--strict", is_flag=True, help="Fail for warnings too.")
def scan_command(config: Path, *, strict: bool) -> None:
    """Read the catalogues and the sources, and say what does not fit together.

    Unknown identifiers, empty marks and claims without a mark are errors; marks that no test claims
    are warnings.

    \b
    Exit status:
      0  nothing is wrong
      1  something is wrong
      2  the settings or a catalogue make no sense
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    project = scan(read_settings(config))
    marks = sum(len(found) for found in project.marks.values())
    claims = sum(len(found) for found in project.claims.values())
    click.echo(
        f"{counted(len(project.requirements), 'requirement')}; {counted(project.files, 'source')}"
        f" with {counted(marks, 'mark')} of {len(project.marks)} and {counted(claims, 'claim')} of"
        f" {len(project.claims)}"
    )
    _tell(project.problems)
    if project.errors or (strict and project.problems):
        raise click.exceptions.Exit(1)


@click.command("report")
@_config
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write the page here.")
@click.option("--json", "json_path", metavar="FILE|-", help="Write the report as JSON.")
@click.option("--evidence", help="What a traced run wrote, instead of what the settings name.")
@click.option("--title", default="Requirements", show_default=True, help="The page's heading.")
@click.option(
    "--link",
    metavar="TEMPLATE",
    help="Address of a source's line (https://.../blob/main/{file}#L{line}); default: the file.",
)
def report(
    config: Path,
    html_path: Path | None,
    json_path: str | None,
    evidence: str | None,
    title: str,
    link: str | None,
) -> None:
    """Report the status of each requirement.

    Lowest first: unmapped, implemented, executed, reached, proven, confirmed.

    \b
    Exit status:
      0  nothing is wrong; what gates demand is reported by the command gate
      1  catalogues, sources and evidence contradict one another
      2  the settings, a catalogue or the evidence make no sense
    """  # noqa: D301
    settings = read_settings(config)
    made_report = _made(settings, evidence)
    if html_path:
        if link is not None and ("{file}" not in link or "{line}" not in link):
            raise click.UsageError("--link has {file} and {line} in it")
        base = os.path.relpath(settings.root.resolve(), html_path.resolve().parent)
        near = "{file}#L{line}" if base == "." else base + "/{file}#L{line}"
        page = as_page(made_report, title, link or near)
        _write(html_path, page)
    if json_path == "-":
        click.echo(as_json(made_report), nl=False)
    else:
        if json_path:
            _write(Path(json_path), as_json(made_report))
        click.echo(as_text(made_report))
        _tell(made_report.problems)
    if made_report.errors:
        raise click.exceptions.Exit(1)


@click.command("gate")
@_config
@click.option("--evidence", help="What a traced run wrote, instead of what the settings name.")
@click.option(
    "--no-worse-than",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="SNAPSHOT",
    help="Fail for each requirement whose status is lower than in this snapshot, too.",
)
def gate(config: Path, evidence: str | None, no_worse_than: Path | None) -> None:
    """Fail if a requirement's status is below what the settings' gates demand.

    With --no-worse-than a project that has far to go must keep what it has reached already.

    \b
    Exit status:
      0  every gate is passed
      1  some requirement does not pass, or something contradicts
      2  the settings, a catalogue or the evidence make no sense
    """  # noqa: D301
    settings = read_settings(config)
    if not settings.gates and not no_worse_than:
        raise ConfigurationError(
            f"{config}: gate: there is none: write [[gate]] tables, or compare with --no-worse-than"
        )
    made_report = _made(settings, evidence)
    fallen = worse(made_report.standings, no_worse_than.read_text()) if no_worse_than else []
    _tell([*made_report.errors, *made_report.offenders, *fallen])
    count = len(made_report.offenders) + len(fallen)
    if count or made_report.errors:
        failing = counted(
            count, "requirement does not pass its gate", "requirements do not pass their gate"
        )
        click.echo(f"{failing}; {counted(len(made_report.errors), 'error')}")
        raise click.exceptions.Exit(1)
    click.echo("every requirement passes its gate")


@click.command("snapshot")
@_config
@click.option("--evidence", help="What a traced run wrote, instead of what the settings name.")
@click.option("--check", is_flag=True, help="Write nothing; fail if the file would change.")
def snapshot(config: Path, evidence: str | None, *, check: bool) -> None:
    """Write one line per requirement, with status and tests, whose difference a reviewer reads."""
    settings = read_settings(config)
    path = settings.root / settings.snapshot
    made_report = _made(settings, evidence)
    if not made_report.traced:
        raise click.ClickException(
            "there is no evidence, so every status would be implemented: run vespiary trace prove"
        )
    text = as_snapshot(made_report)
    if not check:
        _write(path, text)
        return
    if not path.exists():
        raise click.ClickException(f"there is no {path}: vespiary trace snapshot writes it")
    before = path.read_text()
    if before == text:
        click.echo(f"{path} is up to date")
        return
    for line in difflib.unified_diff(
        before.splitlines(), text.splitlines(), str(path), "now", lineterm="", n=0
    ):
        click.echo(line)
    raise click.ClickException(f"{path} differs: vespiary trace snapshot writes it anew")


@click.command("why")
@click.argument("identifier", metavar="[ID]", required=False)
@_config
@click.option("--missing", is_flag=True, help="List the requirements without a known reason.")
def why(identifier: str | None, config: Path, *, missing: bool) -> None:
    """Say what a requirement is for, where the reason stands, and where the code is."""
    made_report = made(read_settings(config))
    if missing:
        for standing in made_report.standings:
            requirement = standing.requirement
            if not requirement.why and not requirement.excluded:
                click.echo(f"{requirement.id}  {requirement.level}  {requirement.says}".rstrip())
        return
    if identifier is None:
        raise click.UsageError("name a requirement, or give --missing")
    found = [s for s in made_report.standings if s.requirement.id == identifier]
    if not found:
        ids = list(made_report.project.requirements)
        near = difflib.get_close_matches(identifier, ids, n=1, cutoff=0)
        raise click.UsageError(f"no requirement {identifier}: did you mean {near[0]}?")
    requirement = found[0].requirement
    click.echo(f"{requirement.id}  {requirement.level}  {found[0].status}")
    click.echo(f"says: {requirement.says or 'not described'}")
    source = f" ({requirement.source})" if requirement.source else ""
    click.echo(f"why: {requirement.why or 'not known'}{source}")
    for item in found[0].code:
        click.echo(f"code: {item.mark.place} {item.mark.function}".rstrip())
    for test in found[0].tests:
        click.echo(f"test: {test.id}")


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


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
