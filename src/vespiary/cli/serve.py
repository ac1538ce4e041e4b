"""`vespiary serve MODULE:OBJECT URL...`: serve a handler, and reload it while it is written."""

import dataclasses
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

import vespiary
from vespiary._credentials import bare_url
from vespiary._loading import load_object
from vespiary._served import as_filter, as_served
from vespiary.cli._applications import application_options
from vespiary.cli._help import Choice, Command
from vespiary.cli._reload import ChildReport, Reloader
from vespiary.cli._workers import worker_options
from vespiary.compression import Compression
from vespiary.endpoint import Endpoint
from vespiary.errors import ApplicationFailed, ConfigurationError, LimitsError, WorkerFailed
from vespiary.limits import Deadlines, Limits
from vespiary.server_options import BACKLOG, FRAMING, SLOW_CONSUMER
from vespiary.tls import ServerTLS
from vespiary.websocket import WebSocket
from vespiary.workers import Workers

__all__ = ["serve"]

_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_WORKERS_LOG_FORMAT = "%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s"
_LEVELS = ("debug", "info", "warning", "error")


def _fields(owner: type[Limits | Deadlines]) -> str:
    """Return every field of a settings class with its default, a line each, for `--help`."""
    lines = [
        f"  {item.name}={'none' if item.default is None else f'{item.default:g}'}"
        if owner is Deadlines
        else f"  {item.name}={'none' if item.default is None else item.default}"
        for item in dataclasses.fields(owner)
    ]
    return "\n".join(lines)


_EPILOG = f"""\b
Limits, with their defaults (whole numbers of at least 1):
{_fields(Limits)}

\b
Deadlines, with their defaults in seconds (above 0 and at most ten years):
{_fields(Deadlines)}
"""


@click.command(cls=Command, epilog=_EPILOG)
@click.argument("handler", metavar="MODULE:OBJECT")
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option(
    "--framing",
    type=Choice(["raw", "line", "crlf", "length"]),
    help=f"How a tcp://, unix:// or tls:// stream is divided into messages.  [default: {FRAMING}]",
)
@click.option(
    "--limit",
    "limits",
    metavar="NAME=VALUE",
    multiple=True,
    help="Set one of the limits below, such as message_bytes_max=64KiB. 'none' removes the limit.",
)
@click.option(
    "--deadline",
    "deadlines",
    metavar="NAME=VALUE",
    multiple=True,
    help="Set one of the deadlines below, such as idle_seconds=2min. 'none' removes the deadline.",
)
@click.option(
    "--drain-seconds",
    metavar="TIME",
    help="How long a graceful shutdown (SIGTERM or SIGINT) waits for connections to finish: a time"
    " such as 30, 250ms or 2min, or 'none' for no limit. The same as --deadline drain_seconds=TIME."
    f"  [default: {Deadlines().drain_seconds:g}]",
)
@click.option(
    "--slow-consumer",
    type=Choice(["wait", "drop-oldest", "drop-newest", "disconnect"]),
    help=f"What happens to messages for a client that does not read.  [default: {SLOW_CONSUMER}]",
)
@click.option(
    "--origin",
    "origins",
    metavar="PATTERN",
    multiple=True,
    help="Web pages of this origin may connect to ws://, such as 'https://*.example.com'."
    "  [repeatable; default: all]",
)
@click.option(
    "--compress",
    is_flag=True,
    help="Compress messages on ws:// for clients that offer it (permessage-deflate), with the"
    " defaults of vespiary.Compression.  [default: no compression]",
)
@click.option(
    "--subprotocol",
    "subprotocols",
    metavar="NAME",
    multiple=True,
    help="A WebSocket subprotocol that the handler supports, the preferred one first.  [repeatable;"
    " default: none]",
)
@click.option(
    "--host",
    metavar="NAME",
    help="Serve only requests for this host, such as example.com or '*.example.com', on ws:// and"
    " http://; others get 404.  [default: every host]",
)
@click.option(
    "--filter",
    "filters",
    metavar="MODULE:OBJECT",
    multiple=True,
    help="A Filter class for the bytes of each connection, between the socket and the framing."
    "  [repeatable; default: none]",
)
@click.option(
    "--proxy-protocol-from",
    "proxies",
    metavar="NETWORK",
    multiple=True,
    help="Expect a header of the PROXY protocol on connections from this address or network, such"
    " as 10.0.0.0/8; 'unix' stands for the peers of Unix sockets.  [repeatable; default: none]",
)
@click.option(
    "--forwarded-from",
    "forwarders",
    metavar="NETWORK",
    multiple=True,
    help="Take the client's address from X-Forwarded-For in requests that come from this address or"
    " network, on ws:// and http://; 'unix' stands for the peers of Unix sockets."
    "  [repeatable; default: none]",
)
@click.option(
    "--cert",
    "certificate",
    metavar="FILE",
    help="The certificate for tls://, wss:// and https:// (PEM), followed by the intermediate"
    " certificates. 'vespiary cert' makes one for development.  [default: none]",
)
@click.option(
    "--key",
    metavar="FILE",
    help="The private key of the certificate (PEM).  [default: in the file of --cert]",
)
@click.option(
    "--executor",
    type=Choice(["threads"]),
    help="Run the handler's methods on a pool of threads, if they are not async."
    "  [default: on the loop's thread]",
)
@click.option(
    "--fd",
    type=click.IntRange(0),
    metavar="NUMBER",
    help="Listen on the inherited socket with this descriptor instead of opening one. The first"
    " that systemd passes is 3 (see sd_listen_fds(3)).  [default: none]",
)
@click.option(
    "--mode",
    metavar="OCTAL",
    help="The permissions of the file of a Unix socket.  [default: set by the umask]  [0 to 777]",
)
@click.option(
    "--backlog",
    type=click.IntRange(1, 65535),
    metavar="NUMBER",
    help="How many connections may wait in the kernel to be accepted. The kernel's"
    f" net.core.somaxconn limits this too.  [default: {BACKLOG}]",
)
@click.option(
    "--reuse-port",
    is_flag=True,
    help="Share the port with other processes that set this option (SO_REUSEPORT).",
)
@application_options
@worker_options
@click.option(
    "--spin-microseconds",
    type=click.IntRange(0, 1_000_000),
    metavar="NUMBER",
    default=0,
    show_default=True,
    help="Microseconds to poll before sleeping when no event is ready.",
)
@click.option(
    "--driver",
    type=Choice(["uring", "epoll"]),
    help="Force the driver.  [default: uring where the kernel allows it, else epoll]",
)
@click.option(
    "--path",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Look for MODULE in this folder.  [default: the current folder]",
)
@click.option("--reload", is_flag=True, help="Restart when a loaded source file changes.")
@click.option(
    "--log-level",
    type=Choice(_LEVELS),
    default="info",
    show_default=True,
    help="The least severe messages that are logged to standard error.",
)
def serve(
    handler: str,
    urls: tuple[str, ...],
    framing: str | None,
    limits: tuple[str, ...],
    deadlines: tuple[str, ...],
    drain_seconds: str | None,
    slow_consumer: str | None,
    origins: tuple[str, ...],
    compress: bool,
    subprotocols: tuple[str, ...],
    host: str | None,
    filters: tuple[str, ...],
    proxies: tuple[str, ...],
    forwarders: tuple[str, ...],
    certificate: str | None,
    key: str | None,
    executor: str | None,
    fd: int | None,
    mode: str | None,
    backlog: int | None,
    reuse_port: bool,
    application: dict[str, Any],
    workers: Workers | None,
    spin_microseconds: int,
    driver: str | None,
    folder: Path | None,
    reload: bool,
    log_level: str,
) -> None:
    """Serve a handler on URLs: tcp://, unix://, ws://, http://; with TLS tls://, wss://, https://.

    udp:// and unixgram:// are for datagrams. MODULE:OBJECT names a Handler, a subclass of it, an
    async function that takes a connection or a datagram, or on http:// an ASGI 3 or WSGI
    application. MODULE is a module or the path of a file.

    \b
    Examples:
      vespiary serve echo:Echo ws://127.0.0.1:9001
      vespiary serve echo.py:echo tcp://127.0.0.1:5050 --framing line --reload
      vespiary serve app:app http://127.0.0.1:8000 --access-log
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    options: dict[str, Any] = {
        "limits": Limits.from_texts(_pairs("--limit", limits)),
        "deadlines": Deadlines.from_texts(_deadlines(deadlines, drain_seconds)),
        "slow_consumer": slow_consumer,
        "executor": executor,
        "fd": fd,
        "backlog": backlog,
        "reuse_port": reuse_port or None,
    }
    special = {"framing": framing, "host": host, "mode": _mode(mode), "tls": _tls(certificate, key)}
    websocket = _websocket(origins, subprotocols, compress)
    proxied = {"proxy_protocol_from": proxies, "forwarded_from": forwarders}
    endpoints = _with_options(urls, special | {"websocket": websocket}, **proxied)
    if reload:
        sys.exit(_reload(handler, folder or Path(), urls, [] if fd is None else [fd], workers))
    _configure_log(log_level, workers)
    report = ChildReport.from_environment()
    try:
        target = as_served(load_object(handler, folder), handler, application)
        options["filters"] = [as_filter(load_object(one, folder), one) for one in filters] or None
    finally:
        if report:
            report.files()
    server = _server_of(target, [(url, options | own) for url, own in endpoints])
    run = partial(server.run, on_serving=report.serving if report else None, workers=workers)
    with _reported():
        run(driver=driver, spin_microseconds=spin_microseconds)


@contextmanager
def _reported() -> Iterator[None]:
    """Report what a server may fail with."""
    try:
        yield
    except OSError as error:
        raise click.ClickException(error.strerror or str(error)) from error
    except (ApplicationFailed, WorkerFailed) as error:
        raise click.ClickException(str(error)) from error


def _configure_log(level: str, workers: Workers | None) -> None:
    form = _LOG_FORMAT if workers is None else _WORKERS_LOG_FORMAT
    logging.basicConfig(level=level.upper(), format=form)


def _server_of(handler: Any, endpoints: list[tuple[str, dict[str, Any]]]) -> vespiary.Server:
    """Return a server with these URLs and their options."""
    server = vespiary.Server()
    for url, options in endpoints:
        given = {name: value for name, value in options.items() if value is not None}
        server.add(handler, url, **given)
    return server


_SPECIAL = {
    "framing": ("--framing is", "streams (tcp:// and unix://)"),
    "host": ("--host is", "ws:// and http://"),
    "mode": ("--mode is", "Unix sockets"),
    "tls": ("--cert is", "tls://, wss:// and https://"),
    "websocket": ("--origin, --subprotocol and --compress are", "ws://"),
}
"""The options that are for endpoints of one kind, and that kind."""


def _with_options(
    urls: Sequence[str], given: dict[str, Any], **proxies: Sequence[str]
) -> list[tuple[str, dict[str, Any]]]:
    """Return each URL with those of these options, and proxies, that are for endpoints of its kind.

    Raises:
        ConfigurationError: a URL is not valid, or an option is for none of them.
    """
    given = {name: value for name, value in given.items() if value is not None}
    found = []
    for url in urls:
        endpoint = Endpoint.parse(url)
        takes = {
            "framing": not (endpoint.has_http or endpoint.is_datagram),
            "host": endpoint.has_http,
            "mode": endpoint.is_unix,
            "tls": endpoint.is_secure,
            "websocket": endpoint.is_websocket,
        }
        if endpoint.is_secure and "tls" not in given:
            raise ConfigurationError(
                f"{bare_url(url)} needs a certificate: pass --cert FILE and --key FILE;"
                " for development, `vespiary cert` creates both files",
                subject="tls",
            )
        own = {name: value for name, value in given.items() if takes[name]}
        for name, networks in proxies.items():
            if taken := [one for one in networks if not _why_not(endpoint, name, one)]:
                own[name] = taken
        found.append((url, own))
    for name in given:
        if not any(name in own for _, own in found):
            option, kind = _SPECIAL[name]
            raise ConfigurationError(
                f"{option} for {kind}, but no URL is one of these", subject=name
            )
    for name, networks in proxies.items():
        for one in networks:
            if not any(one in own.get(name, ()) for _, own in found):
                kind = _why_not(Endpoint.parse(urls[0]), name, one)
                raise ConfigurationError(
                    f"--{name.replace('_', '-')} {one} is for {kind}, but no URL is one of these",
                    subject=name,
                )
    return found


def _why_not(endpoint: Endpoint, name: str, network: str) -> str:
    """Return for which endpoints a proxy is, if not for this one; an empty text if it is."""
    if endpoint.is_datagram:
        return "streams (such as tcp:// and ws://)"
    if name == "forwarded_from" and not endpoint.has_http:
        return "ws:// and http://"
    if (network == "unix") != endpoint.is_unix:
        return "Unix sockets" if network == "unix" else "endpoints on an IP address"
    return ""


def _tls(certificate: str | None, key: str | None) -> ServerTLS | None:
    if certificate is not None:
        try:
            return ServerTLS(certificate, key)
        except OSError as error:
            raise ConfigurationError(
                f"{error.filename} cannot be read: {error.strerror}", subject="cert"
            ) from None
    if key is not None:
        raise ConfigurationError(
            "--key needs --cert, the certificate that the key belongs to", subject="key"
        )
    return None


def _websocket(
    origins: tuple[str, ...], subprotocols: tuple[str, ...], compress: bool
) -> WebSocket | None:
    if not (origins or subprotocols or compress):
        return None
    return WebSocket(
        origins=origins or None,
        subprotocols=subprotocols,
        compression=Compression() if compress else None,
    )


def _deadlines(deadlines: Sequence[str], drain_seconds: str | None) -> dict[str, str]:
    pairs = _pairs("--deadline", deadlines)
    if drain_seconds is not None:
        if "drain_seconds" in pairs:
            raise LimitsError(
                "--drain-seconds and --deadline drain_seconds= set the same deadline: give one"
                " of them",
                subject="drain_seconds",
            )
        pairs["drain_seconds"] = drain_seconds
    return pairs


def _mode(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text, 8)
    except ValueError:
        raise ConfigurationError(
            f"--mode takes permissions as an octal number, such as 660; got {text!r}",
            subject="mode",
            value=text,
        ) from None


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise LimitsError(f"{option} takes NAME=VALUE; got {text!r}", subject=option)
        pairs[name.strip().replace("-", "_")] = value
    return pairs


def _reload(
    handler: str,
    folder: Path,
    urls: Sequence[str],
    inherited: Sequence[int],
    workers: Workers | None,
) -> int:
    """Run this same command without --reload as a child, again after each change."""
    if workers is not None:
        raise ConfigurationError(
            "--reload and --workers exclude each other: develop with one process",
            subject="workers",
        )
    arguments = [argument for argument in sys.argv[1:] if argument != "--reload"]

    def command(urls_now: Sequence[str]) -> list[str]:
        # The URLs are replaced one by one: options may stand between them.
        replaced = dict(zip(urls, urls_now, strict=True))
        return [sys.executable, "-m", "vespiary"] + [replaced.get(a, a) for a in arguments]

    name = handler.rpartition(":")[0]
    file = Path(name) if name.endswith(".py") else Path(*name.split(".")).with_suffix(".py")
    return Reloader(command, urls, [(folder / file).absolute()], inherited).run()
