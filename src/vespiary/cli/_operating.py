"""The commands for a platform that runs: each is a request to its administration."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from vespiary._toml_files import FileError, dotted
from vespiary.cli._configuration import configuration_file, needs_wasp, reported
from vespiary.cli._help import Command
from vespiary.errors import ConfigurationError

__all__ = ["ask", "endpoint_command"]

_SECONDS = 60.0
"""How long an answer may take: a reload waits for each `on_start`."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(file: Path, method: str, path: str) -> Any:
    """Send a request to the administration of a configuration's server, and return the answer.

    Raises:
        ClickException: there is no answer, or it is an error.
        ConfigurationError: the configuration has no administration.
    """
    needs_wasp()
    with reported():
        url, token = _admin(file)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    connection = _connection(url)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise click.ClickException(
            f"no answer from {url}: {text}; is the server running?"
        ) from None
    finally:
        connection.close()
    if answer.status != 200:
        raise click.ClickException(_failure(answer.status, body))
    return json.loads(body)


def _failure(status: int, body: str) -> str:
    try:
        return "\n".join(json.loads(body)["errors"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {status}: {body.strip()}"


def _connection(url: str) -> http.client.HTTPConnection:
    from vespiary.endpoint import Endpoint

    endpoint = Endpoint.parse(url)
    if endpoint.is_unix:
        return _UnixConnection(endpoint.path)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(endpoint.host, endpoint.host)
    return http.client.HTTPConnection(host, endpoint.port, timeout=_SECONDS)


def _admin(file: Path) -> tuple[str, str | None]:
    """The URL and the token; mistakes elsewhere in the file do not matter here."""
    from vespiary.wasp.decoding import WRONG, decode
    from vespiary.wasp.reading import read_source
    from vespiary.wasp.schema import AdminTable

    source = read_source(file)
    if "admin" not in source.data:
        raise ConfigurationError(
            f"{file} has no [admin], which is needed to reach its server: add it, such as\n\n"
            '  [admin]\n  url = "http://127.0.0.1:9180/"',
            subject="admin",
        )
    mine = [fault for fault in source.faults if fault[2].startswith("admin")]
    source.faults[:] = mine
    table = decode(source, AdminTable, source.data["admin"], ("admin",))
    if table is WRONG or mine:
        source.check()
        raise FileError(file, [f"{file}:1: {dotted(('admin',))}: is not valid"])
    return table.url, table.token


def endpoint_command(name: str, text: str, path: str = "") -> Callable[..., None]:
    """Make a command for one endpoint.

    Args:
        name: The name of the command.
        text: Its help.
        path: What is added to the path of its request.
    """

    @click.command(cls=Command, name=name, help=text)
    @click.argument("endpoint")
    @configuration_file
    def command(endpoint: str, file: Path) -> None:
        target = f"/endpoints/{quote(endpoint, safe='')}/{name}{path}"
        click.echo(ask(file, "POST", target)["done"])

    return command
