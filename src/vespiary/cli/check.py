"""`vespiary check wasp.toml`: check a configuration file."""

import json
from pathlib import Path

import click

from vespiary._counted import counted
from vespiary.cli._configuration import configuration_file, needs_wasp, reported
from vespiary.cli._help import Command

__all__ = ["check"]


@click.command(cls=Command)
@configuration_file
@click.option(
    "--schema",
    is_flag=True,
    help="Print the JSON Schema of configuration files instead, for editors.",
)
@click.option(
    "--csharp",
    is_flag=True,
    help="Print the interface of plug-ins in C# instead, to compile them with it.",
)
def check(file: Path, schema: bool, csharp: bool) -> None:
    """Check a configuration file, and load its plug-ins, without starting anything.

    FILE is wasp.toml by default. Each mistake is printed with its file, line and key. The exit code
    is 2 if there are any.

    \b
    Examples:
      vespiary check
      vespiary check --schema > wasp.schema.json
      vespiary check --csharp > Vespiary.cs
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    if schema:
        needs_wasp()
        from vespiary.wasp.schema import json_schema

        click.echo(json.dumps(json_schema(), indent=2))
        return
    if csharp:
        needs_wasp()
        from vespiary.wasp.clr.assemblies import INTERFACE

        click.echo(INTERFACE.read_text(), nl=False)
        return
    with reported():
        from vespiary.wasp.platform import check as check_file

        configuration = check_file(file)
    for name, planned in configuration.endpoints.items():
        click.echo(f"{name}: {', '.join(planned.urls)} -> {planned.table.plugin}")
    files = len(configuration.source.files)
    click.echo(f"{file} is valid" + (f" ({counted(files, 'file')})" if files > 1 else ""))
