"""`vespiary run wasp.toml`: serve the plug-ins of a configuration file."""

import sys
import traceback
from pathlib import Path

import click

from vespiary.cli._configuration import configuration_file, reported
from vespiary.cli._help import Command
from vespiary.errors import ApplicationFailed

__all__ = ["run"]


@click.command(cls=Command)
@configuration_file
def run(file: Path) -> None:
    """Serve the endpoints of a configuration file.

    FILE is wasp.toml by default. SIGTERM and SIGINT stop the server gracefully, and a second signal
    ends it at once. SIGHUP reloads the configuration; if the new one is not valid, the old one
    stays in use. SIGUSR2 starts the same command again in a new process, which takes over the
    sockets, so that a newer version of the program can replace it without refusing a connection.

    \b
    Examples:
      vespiary run
      vespiary run /etc/app/wasp.toml
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    with reported():
        from vespiary.wasp.handover import Predecessor
        from vespiary.wasp.platform import Platform, read_checked
        from vespiary.wasp.systemd import passed_sockets

        configuration, sockets = read_checked(file), passed_sockets()
        predecessor = Predecessor.from_environment()
        if predecessor is not None:
            sockets |= predecessor.passed
        platform = Platform(file, sockets) if configuration.workers is None else None
    try:
        if platform is not None:
            platform.run(predecessor)
            return
        from vespiary.wasp.generations import Generations

        sys.exit(Generations(configuration, sockets, predecessor).run())
    except OSError as error:
        raise click.ClickException(error.strerror or str(error)) from error
    except ApplicationFailed as error:
        notes = "".join(f"\n{note}" for note in error.__notes__)
        raise click.ClickException(f"{error}{notes}") from error
    except Exception:
        click.echo(traceback.format_exc().rstrip(), err=True)
        click.echo("Error: the server did not start", err=True)
        sys.exit(1)
