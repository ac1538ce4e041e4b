"""`vespiary status`: what a running server serves."""

import json
from pathlib import Path
from typing import Any

import click

from vespiary._counted import counted
from vespiary.cli._configuration import configuration_file
from vespiary.cli._help import Command
from vespiary.cli._operating import ask

__all__ = ["status"]


@click.command(cls=Command)
@configuration_file
@click.option("--json", "as_json", is_flag=True, help="Print everything, as JSON.")
def status(file: Path, as_json: bool) -> None:
    """Show the endpoints of a running server and their connections.

    FILE is wasp.toml by default.
    """
    found = ask(file, "GET", "/status")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"process {found['process']}, running for {found['running_seconds']:.0f} s")
    if found["reloads"] is not None and found["reloads"]["last_error"] is not None:
        click.echo(f"the latest reload failed: {found['reloads']['last_error']}")
    for name, endpoint in found["endpoints"].items():
        urls = ", ".join(endpoint["urls"])
        click.echo(
            f"{name}: {endpoint['state']}{' ' + urls if urls else ''}:"
            f" {endpoint['connections_open']} open, {endpoint['connections_accepted']} accepted,"
            f" {counted(endpoint['handler_errors'], 'error')} of its handler"
        )
        if "plugin_process" in endpoint:
            _show_process(endpoint["plugin_process"])
    for worker in found["workers"]:
        click.echo(
            f"worker {worker['number']}: process {worker['process']},"
            f" {worker['connections_open']} open"
        )


def _show_process(facts: dict[str, Any]) -> None:
    """Show the process of a plug-in."""
    last = f"; the last one {facts['last_end']}" if facts["last_end"] else ""
    click.echo(
        f"  process {facts['process'] or 'restarting'}, {facts['memory_bytes'] >> 20} MiB,"
        f" {counted(facts['processes_started'], 'start')}{last}"
    )
