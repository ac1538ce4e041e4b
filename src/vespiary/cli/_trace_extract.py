"""The commands of `vespiary trace` for what is traced: init, extract, rename."""

from pathlib import Path

import click

from vespiary._counted import counted
from vespiary.cli._help import Command
from vespiary.cli._trace_options import config_option
from vespiary.errors import ConfigurationError
from vespiary.prove.trace import files
from vespiary.prove.trace.extract import Extraction, Request, extract, refuse_name
from vespiary.prove.trace.normative import candidates, read
from vespiary.prove.trace.renaming import refuse_moved_marks, renamed
from vespiary.prove.trace.settings import read_settings
from vespiary.prove.trace.starting import as_settings, looked_at

__all__ = ["extract_command", "init", "rename_command"]


@click.command("extract", cls=Command)
@click.argument("specification", metavar="SPEC")
@click.option(
    "--text",
    "text_path",
    type=click.Path(path_type=Path),
    required=True,
    help="The specification: the plain text or the XML of an RFC, Markdown, or HTML.",
)
@click.option(
    "--catalogue",
    type=click.Path(path_type=Path),
    help="The file to write or update.  [default: requirements/SPEC.toml in the project's root]",
)
@click.option(
    "--sections",
    metavar="PATTERN,...",
    help="Extract these sections only. 3.2 is one section; 3.2.* is 3.2 and all sections below it."
    "  [default: all]",
)
@click.option(
    "--base",
    metavar="SPEC=FILE",
    help="Skip sentences that also occur, word for word, in this other specification.",
)
@click.option(
    "--old",
    type=click.Path(path_type=Path),
    help="The previous text of the specification, to find sentences that have changed.",
)
@click.option(
    "--unpaired",
    is_flag=True,
    help="Without --old: report a changed sentence as one removed and one added sentence.",
)
@click.option(
    "--show", is_flag=True, help="Print each identifier with its sentence; write nothing."
)
@click.option(
    "--candidates",
    "show_candidates",
    is_flag=True,
    help="Print sentences without a key word that may be requirements; write nothing.",
)
@click.option(
    "--accept",
    is_flag=True,
    help="Remove the keys suspect, was and moved_from from the catalogue, after you have read all"
    " of them.",
)
@click.option("--check", is_flag=True, help="Write nothing; fail if something would change.")
@config_option
def extract_command(
    specification: str,
    text_path: Path,
    catalogue: Path | None,
    sections: str | None,
    base: str | None,
    old: Path | None,
    config: Path,
    *,
    unpaired: bool,
    show: bool,
    show_candidates: bool,
    accept: bool,
    check: bool,
) -> None:
    """Write or update the catalogue of the specification SPEC.

    Every sentence with an upper-case key word of RFC 2119 becomes a requirement. Its identifier is
    SPEC/SECTION/NUMBER. The catalogue has the hash of the sentence, not the sentence itself.
    Keys that you have added to the catalogue are kept.

    After a revision of the text, pass the previous text with --old. Sentences that have changed are
    then found by their words, and their requirements are marked as suspect.

    \b
    Examples:
      vespiary trace extract rfc6455 --text rfc6455.txt
      vespiary trace extract rfc6455 --text rfc6455.txt --show
      vespiary trace extract http1 --text rfc9112.txt --old rfc7230.txt
      vespiary trace extract hybi09 --text draft-09.txt --base rfc6455=rfc6455.txt

    \b
    Exit codes:
      0  the catalogue is up to date
      1  with --check: it is not up to date
      2  the options, the text or the catalogue are wrong
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    if (show or show_candidates) and (accept or check or old):
        raise click.UsageError(
            "--show and --candidates write nothing: remove --accept, --check and --old"
        )
    refuse_name(specification)
    text = files.specification(text_path)
    patterns = tuple(part.strip() for part in sections.split(",")) if sections else ()
    if show or show_candidates:
        _print(text, specification, patterns, show=show, show_candidates=show_candidates)
        return
    path = catalogue or config.parent / "requirements" / f"{specification}.toml"
    base_name, base_text = _base(base) if base else ("", "")
    before = files.read(path) if path.exists() else ""
    if accept:
        refuse_moved_marks(config, path)
    request = Request(
        name=specification,
        text=text,
        path=path,
        sections=patterns,
        base=base_name,
        base_text=base_text,
        accept=accept,
        old_text=files.specification(old) if old else "",
        unpaired=unpaired,
    )
    done = extract(request)
    _tell(done, path)
    if check:
        if done.written != before:
            raise click.ClickException(f"{path} is not up to date: run without --check")
    elif done.written != before:
        files.write(path, done.written)


def _base(base: str) -> tuple[str, str]:
    """The name and the text of the specification that --base names."""
    name, _, path = base.partition("=")
    if not path:
        raise click.UsageError("--base takes SPEC=FILE, as rfc6455=rfc6455.txt")
    return name, files.specification(Path(path))


def _print(
    text: str, name: str, patterns: tuple[str, ...], *, show: bool, show_candidates: bool
) -> None:
    """Print sentences, candidates or both, for anyone who writes the catalogue's words."""
    if show:
        sentences = read(text, name, patterns)
        if not sentences and patterns and read(text, name):
            click.echo(
                f"no sentence of {name} with a key word is in --sections {','.join(patterns)}",
                err=True,
            )
        elif not sentences:
            click.echo(
                f"no sentence of {name} has a key word in capitals: try --candidates", err=True
            )
        for sentence in sentences:
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
        + (f"; {done.left_out} omitted because the base has them" if done.left_out else "")
    )
    for requirement, sentence in revision.changed:
        click.echo(f"  suspect: {sentence.id}: the sentence has changed (was {requirement.id})")
        old = revision.words.get(requirement.hash, "not known without --old")
        click.echo(f"    old: {old}\n    new: {sentence.text}")
    for requirement, sentence in revision.moved:
        click.echo(f"  moved: {requirement.id} is now {sentence.id}")
    for requirement in revision.vanished:
        click.echo(f"  vanished: {requirement.id}: kept below [[vanished]]")
        if requirement.hash in revision.words:
            click.echo(f"    old: {revision.words[requirement.hash]}")
    for identifier in done.reused:
        click.echo(
            f"  suspect: {identifier}: its number belonged to a requirement that has vanished:"
            " remove the old marks and claims of this number"
        )
    if any(requirement.id != sentence.id for requirement, sentence in revision.pairs):
        click.echo("vespiary trace rename changes the identifiers in marks and claims")
    for identifier in done.suspect:
        click.echo(f"  suspect: {identifier}: the sentence of its anchor has changed")
    for words in done.lost:
        click.echo(f"  lost: {words}")


@click.command("rename", cls=Command)
@config_option
@click.option("--check", is_flag=True, help="Write nothing; fail if something would change.")
def rename_command(config: Path, *, check: bool) -> None:
    """Update the identifiers in marks and claims after a revision of the specification.

    Every identifier that moved (moved_from in a catalogue) is changed in the sources, the
    catalogues and the confirmations. Then moved_from is removed. Run this once after each revision,
    before you write marks or claims for the new text.

    \b
    Exit codes:
      0  every mark and claim has its current number
      1  with --check: a mark or a claim has an old number
      2  the settings or a catalogue are wrong
    """  # noqa: D301
    changes = renamed(read_settings(config))
    for change in changes:
        if change.count:
            places = counted(change.count, "place")
            click.echo(f"{change.path}: {places} {'would be ' if check else ''}changed")
        if not check:
            files.write(change.path, change.data)
    if not changes:
        click.echo("no requirement has moved")
    elif check:
        raise click.exceptions.Exit(1)


@click.command("init", cls=Command)
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="The project's folder.  [default: the current folder]",
)
def init(root: Path) -> None:
    """Find the project's languages, sources and tests, and write them to trace.toml.

    \b
    Exit codes:
      0  trace.toml was written
      2  trace.toml exists already, or there is nothing to trace
    """  # noqa: D301
    path = root / "trace.toml"
    if path.exists():
        raise ConfigurationError(f"{path} exists already: edit it, or remove it first")
    layout = looked_at(root)
    files.write(path, as_settings(layout))
    languages = [
        name for name, found in (("Rust", layout.rust), ("Python", layout.python)) if found
    ]
    click.echo(f"{path}: {' and '.join(languages)}; check that it names your sources and tests")
    click.echo("next: vespiary trace extract NAME --text FILE")
