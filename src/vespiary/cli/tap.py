"""`vespiary tap ID`: show the traffic of a connection."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from vespiary._printable import escaped
from vespiary.cli._configuration import configuration_file
from vespiary.cli._help import Command
from vespiary.cli._operating import asked, path_of

__all__ = ["tap"]


@click.command(cls=Command)
@click.argument("connection")
@configuration_file
@click.option(
    "--seconds",
    default=60.0,
    help="End after this number of seconds.  [default: 60; above 0, at most 3600]",
)
@click.option(
    "--records",
    default=10_000,
    help="End after this number of records.  [default: 10000; 1 to 100000]",
)
@click.option(
    "--preview",
    default=64,
    help="Show this number of bytes of each record.  [default: 64; 0 to 1024]",
)
@click.option("--json", "as_json", is_flag=True, help="Print each record as JSON, one per line.")
def tap(
    connection: str, file: Path, seconds: float, records: int, preview: int, as_json: bool
) -> None:
    """Show the traffic of a connection of a running server: direction, size, first bytes.

    CONNECTION is an id, as 'vespiary connections' lists it. FILE is wasp.toml by default.

    The connection never waits for the tap: if there is too much traffic, records are dropped and
    counted. With TLS the decrypted bytes are shown. The audit log records each tap.
    """
    fields = {"seconds": f"{seconds:g}", "records": str(records), "preview": str(preview)}
    with asked(file, "POST", path_of("connections", connection, "tap"), fields) as answer:
        for line in answer:
            if as_json:
                click.echo(line.decode().rstrip("\n"))
            else:
                _show(json.loads(line))
            sys.stdout.flush()


def _show(item: dict[str, Any]) -> None:
    if "end" in item:
        click.echo(f"The tap has ended: {item['end']}")
    elif "dropped" in item:
        click.echo(f"({item['dropped']} records with {item['dropped_bytes']} bytes were dropped)")
    else:
        time = f"{datetime.fromtimestamp(item['time'], UTC):%H:%M:%S.%f}"[:-3]
        arrow = "<" if item["direction"] == "received" else ">"
        text = escaped(item["text"]) if "text" in item else item["hex"]
        click.echo(f"{time} {arrow} {item['bytes']:>7} {text}")
