"""`vespiary trace`: tie a specification's requirements to code and to the tests that prove it."""

from pathlib import Path

import click

from vespiary._counted import counted
from vespiary.cli._trace_prove import collect_command, prove_command
from vespiary.cli._trace_report import gate, report, scan_command, snapshot, why
from vespiary.errors import ConfigurationError
from vespiary.prove.trace.extract import Extraction, Request, extract
from vespiary.prove.trace.normative import candidates, read

__all__ = ["trace"]


@click.group()
def trace() -> None:
    """Tie a specification's requirements to code, and to the tests that prove them."""


for _verb in (scan_command, collect_command, prove_command, report, gate, snapshot, why):
    trace.add_command(_verb)


@trace.command("extract")
@click.argument("specification", metavar="SPEC")
@click.option(
    "--text",
    "text_path",
    type=click.Path(path_type=Path),
    required=True,
    help="The RFC or Internet-Draft as published, in plain text.",
)
@click.option(
    "--catalogue",
    type=click.Path(path_type=Path),
    help="The file to write or update (requirements/SPEC.toml by default).",
)
@click.option(
    "--sections",
    metavar="PATTERN,...",
    help="Only these: 3.2 is that section alone, 3.2.* it and all below it.",
)
@click.option(
    "--base",
    metavar="SPEC=FILE",
    help="Leave out the sentences that this specification has word for word.",
)
@click.option(
    "--show", is_flag=True, help="Print each identifier with its sentence; write nothing."
)
@click.option(
    "--candidates",
    "show_candidates",
    is_flag=True,
    help="Print what may bind without a key word; write nothing.",
)
@click.option(
    "--accept", is_flag=True, help="Take away the marks suspect, was and moved_from: all were read."
)
@click.option("--check", is_flag=True, help="Write nothing; fail if something would change.")
def extract_command(
    specification: str,
    text_path: Path,
    catalogue: Path | None,
    sections: str | None,
    base: str | None,
    *,
    show: bool,
    show_candidates: bool,
    accept: bool,
    check: bool,
) -> None:
    """Write or update the catalogue of the specification SPEC.

    Every sentence with an upper-case key word of RFC 2119 becomes a requirement, known by
    SPEC/SECTION/ORDINAL and by the hash of its words. The words themselves are not written. What
    people wrote in the catalogue is kept; a requirement whose sentence has changed is marked
    suspect.

    \b
    vespiary trace extract rfc6455 --text rfc6455.txt
    vespiary trace extract rfc6455 --text rfc6455.txt --show
    vespiary trace extract hybi09 --text draft-09.txt --base rfc6455=rfc6455.txt

    \b
    Exit status:
      0  the catalogue is up to date
      1  --check, and it is not
      2  the options, the text or the catalogue make no sense
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    text = _text(text_path)
    patterns = tuple(part.strip() for part in sections.split(",")) if sections else ()
    if show or show_candidates:
        _print(text, specification, patterns, show=show, show_candidates=show_candidates)
        return
    path = catalogue or Path("requirements") / f"{specification}.toml"
    base_name, _, base_path = (base or "").partition("=")
    if base and not base_path:
        raise click.UsageError("--base takes SPEC=FILE, as rfc6455=rfc6455.txt")
    base_text = _text(Path(base_path)) if base else ""
    before = path.read_text() if path.exists() else ""
    done = extract(Request(specification, text, path, patterns, base_name, base_text, accept))
    _tell(done, path)
    if check:
        if done.written != before:
            raise click.ClickException(f"{path} is not up to date: run without --check")
    elif done.written != before:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(done.written)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error


def _print(
    text: str, name: str, patterns: tuple[str, ...], *, show: bool, show_candidates: bool
) -> None:
    """Print sentences, candidates or both, for anyone who writes the catalogue's words."""
    if show:
        for sentence in read(text, name, patterns):
            items = f" (introduces {counted(sentence.items, 'item')})" if sentence.items else ""
            click.echo(f"{sentence.id}  {', '.join(sentence.keywords)}{items}\n  {sentence.text}")
    if show_candidates:
        for candidate in candidates(text, patterns):
            click.echo(
                f"{name}/{candidate.section}/h?  {candidate.kind}  {candidate.hash}\n"
                f"  {candidate.text}"
            )


def _tell(done: Extraction, path: Path) -> None:
    """Say the outcome of the revision."""
    revision = done.revision
    click.echo(
        f"{path}: {counted(len(done.sentences), 'requirement')}: {len(revision.kept)} kept,"
        f" {len(revision.new)} new, {len(revision.changed)} changed,"
        f" {len(revision.moved)} moved, {len(revision.vanished)} vanished"
        + (f"; {done.left_out} stand in the base and are left out" if done.left_out else "")
    )
    for requirement, sentence in revision.changed:
        click.echo(f"  suspect: {sentence.id}: its words have changed (was {requirement.id})")
    for requirement, sentence in revision.moved:
        click.echo(f"  moved: {requirement.id} is now {sentence.id}: change its marks and claims")
    for requirement in revision.vanished:
        click.echo(f"  vanished: {requirement.id}: kept below [[vanished]]")
    for identifier in done.suspect:
        click.echo(f"  suspect: {identifier}: the place of its anchor has changed")
    for words in done.lost:
        click.echo(f"  lost: {words}")
