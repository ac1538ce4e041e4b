"""`vespiary connections`: list the connections of a running server."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from vespiary._amounts import shown_bytes, shown_seconds
from vespiary._counted import counted
from vespiary.cli._configuration import configuration_file
from vespiary.cli._help import Choice, Command
from vespiary.cli._operating import ask, path_of

__all__ = ["connections"]

_ORDERS = (
    "open_seconds",
    "messages_received",
    "messages_sent",
    "bytes_received",
    "bytes_sent",
    "queued_bytes",
)


@click.command(cls=Command)
@configuration_file
@click.option(
    "--endpoint", metavar="NAME", help="Only connections of this endpoint.  [default: all]"
)
@click.option(
    "--peer",
    metavar="ADDRESS",
    help="Only connections of this peer: an IP address, an address with a port, or a network"
    " such as 10.0.0.0/8."
    "  [default: all]",
)
@click.option(
    "--path",
    metavar="TEXT",
    help="Only connections whose path begins with TEXT.  [default: all]",
)
@click.option("--worker", type=int, help="Only connections of this worker.  [default: all]")
@click.option(
    "--order",
    type=Choice(_ORDERS),
    help="Sort by this counter, the largest first.  [default: in the order of acceptance]",
)
@click.option(
    "--offset", default=0, help="Skip this number of connections.  [default: 0; at least 0]"
)
@click.option(
    "--limit", default=50, help="List at most this number of connections.  [default: 50; 1 to 500]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def connections(
    file: Path,
    endpoint: str | None,
    peer: str | None,
    path: str | None,
    worker: int | None,
    order: str | None,
    offset: int,
    limit: int,
    as_json: bool,
) -> None:
    """List the connections of a running server.

    FILE is wasp.toml by default. 'vespiary inspect' shows more of one of them.
    """
    target = path_of(
        "connections",
        endpoint=endpoint,
        peer=peer,
        path=path,
        worker=worker,
        order=order,
        offset=offset,
        limit=limit,
    )
    found = ask(file, "GET", target)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = found["rows"]
    table = Table(box=None, pad_edge=False)
    for name in ("id", "endpoint", "peer", "path"):
        table.add_column(name)
    for name in ("open", "received", "sent", "waits"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row["id"],
            row["endpoint"],
            row["peer"],
            row["path"] or "",
            shown_seconds(row["open_seconds"]),
            shown_bytes(row["bytes_received"]),
            shown_bytes(row["bytes_sent"]),
            shown_bytes(row["queued_bytes"]),
        )
    console = Console()
    if rows:
        console.print(table, soft_wrap=not console.is_terminal)
    click.echo(f"{counted(found['count'], 'connection')}, {len(rows)} shown")
