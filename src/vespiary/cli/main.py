"""The command `vespiary`: a group of commands, each imported only when it is used."""

import errno
import importlib
import io
import os
import signal
import sys
from typing import Any, TextIO

import click

from vespiary.errors import ConfigurationError, VespiaryError

__all__ = ["main"]

_COMMANDS = {
    "cert": "Make a certificate for development.",
    "check": "Check a configuration file of `vespiary run`.",
    "connections": "List the connections of `vespiary run`.",
    "disconnect": "Close connections of `vespiary run`.",
    "drain": "Stop an endpoint of `vespiary run` gracefully.",
    "endpoints": "List the endpoints of `vespiary run`.",
    "inspect": "Show everything about a connection of `vespiary run`.",
    "install": "Write a systemd unit for `vespiary run`.",
    "limit": "Set a limit of an endpoint of `vespiary run` until the next reload.",
    "load": "Send load to a server, and verify every echo.",
    "locks": "Run a program, and report lock orders that could deadlock.",
    "log-level": "Set the level of the log of `vespiary run` until the next reload.",
    "memory": "Run a program under a memory limit, and report whether its memory grows.",
    "new": "Write a new plug-in project.",
    "prove": "Run black-box tests of a server, optionally with the other tools.",
    "reload": "Let `vespiary run` read its configuration again.",
    "resume": "Accept connections on an endpoint of `vespiary run` again.",
    "run": "Serve the plug-ins of a configuration file.",
    "serve": "Serve a handler on one or more URLs.",
    "status": "Show what `vespiary run` serves.",
    "suspend": "Accept no new connections on an endpoint of `vespiary run`.",
    "tap": "Show the traffic of a connection of `vespiary run`.",
    "timewait": "Show TIME_WAIT by process, and when local ports run out.",
    "top": "Show what `vespiary run` does, live in the terminal.",
    "trace": "Link the requirements of a specification to code and tests.",
    "upgrade": "Replace the program of `vespiary run` without refusing a connection.",
}
"""Each command, found in the module of its name in `vespiary.cli`, with its help."""


_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


class _Commands(click.Group):
    """Finds commands by name, suggests near ones, and reports errors in a sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        module = importlib.import_module(f"vespiary.cli.{name}")
        command: click.Command = getattr(module, name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, _COMMANDS, n=1, cutoff=0.5)
            advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_COMMANDS)}"
            ctx.fail(f"no command {name!r}: {advice}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        _open_closed_streams()
        if sys.stderr is sys.__stderr__:
            sys.stderr = _unread_is_no_fault(sys.__stderr__)
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise click.UsageError(str(error)) from error
        except VespiaryError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            # click ends with 1 then, which other tools may take for a result.
            click.echo("vespiary: interrupted", err=True)
            ctx.exit(128 + signal.SIGINT)
        except OSError as error:
            if why := _why_unable(error):
                raise _Unable(why) from error
            if error.errno not in _CANNOT_WRITE:
                raise
            what = error.filename or "the output"
            if error.filename is None and sys.stdout is sys.__stdout__:
                # Otherwise the interpreter flushes again at its exit, and fails with code 120.
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise click.ClickException(f"{what} could not be written: {error.strerror}") from error


class _Unable(click.ClickException):
    """This system does not allow what was asked for."""

    exit_code = 2


def _why_unable(error: OSError) -> str:
    """Why a command can do nothing on this system, and what to do; empty for any other error."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "too many open files: raise the limit, for example with `ulimit -n 4096`"
    has_proc = os.path.exists("/proc/self")  # noqa: PTH110 - pathlib would take time to import.
    if str(error.filename).startswith("/proc/") and not has_proc:
        return f"{error.filename} cannot be read: /proc is not mounted, and this command needs it"
    return ""


def _open_closed_streams() -> None:
    """Give closed standard streams to /dev/null, so that no file gets the number of one.

    Programs that a command starts find them closed, as they were.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")


class _Unread(io.FileIO):
    """A stream of which it does not matter whether anyone can read it."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _unread_is_no_fault(stream: TextIO) -> TextIO:
    """Standard error for which a pipe without reader or a full disk is not a failure.

    Else a tool would end with that, and not with the exit code of the program that it ran.
    """
    raw = _Unread(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
    )


def _show_version(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    """Print the version, which the native module knows: no command waits for that one."""
    if not asked or ctx.resilient_parsing:
        return
    from vespiary import __version__

    click.echo(f"vespiary, version {__version__}")
    ctx.exit()


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="'vespiary COMMAND --help' describes a command and its options.",
)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Run network servers, and test them."""
