"""The commands for a platform that runs: each is a request to its administration."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import click

from vespiary._toml_files import FileError, dotted
from vespiary.cli._configuration import configuration_file, needs_wasp, reported
from vespiary.cli._help import Command
from vespiary.errors import ConfigurationError

if TYPE_CHECKING:
    from vespiary.wasp.schema import AdminTable

__all__ = ["ask", "asked", "endpoint_command", "path_of"]

_SECONDS = 60.0
"""How long an answer may take: a reload waits for each `on_start`."""
_CERTIFICATE = "VESPIARY_ADMIN_CERTIFICATE"
_KEY = "VESPIARY_ADMIN_KEY"


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


def ask(file: Path, method: str, path: str, fields: Mapping[str, str] | None = None) -> Any:
    """Send a request to the administration of a configuration's server, and return the answer.

    Args:
        file: The configuration.
        method: `GET` or `POST`.
        path: The path, with a query if there is one.
        fields: The fields of a form.

    Raises:
        ClickException: there is no answer, or it is an error.
        ConfigurationError: the configuration has no administration.
    """
    with asked(file, method, path, fields) as answer:
        return json.loads(answer.read())


@contextlib.contextmanager
def asked(
    file: Path, method: str, path: str, fields: Mapping[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    """The same, with the answer as it comes.

    Raises:
        ClickException: there is no answer, it is an error, or it ends early.
        ConfigurationError: the configuration has no administration.
    """
    needs_wasp()
    with reported():
        folder, table = _admin(file)
    url = table.url
    token = table.token or table.read_token
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    body = None
    if fields is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(fields)
    connection = _connection(folder, table)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise click.ClickException(_failure(answer.status, answer.read().decode()))
        yield answer
    except (OSError, http.client.HTTPException) as error:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise click.ClickException(
            f"no answer from {url}: {text}; is the server running?"
        ) from None
    finally:
        connection.close()


def _failure(status: int, body: str) -> str:
    try:
        return "\n".join(json.loads(body)["errors"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {status}: {body.strip()}"


def _connection(folder: Path, table: AdminTable) -> http.client.HTTPConnection:
    from vespiary.endpoint import Endpoint

    endpoint = Endpoint.parse(table.url)
    if endpoint.is_unix:
        return _UnixConnection(endpoint.path)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(endpoint.host, endpoint.host)
    if table.tls is None:
        return http.client.HTTPConnection(host, endpoint.port, timeout=_SECONDS)
    # The server's own certificate is known, so nothing else is trusted, whatever its name is.
    context = ssl.create_default_context(cafile=str(folder / table.tls.certificate))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if _CERTIFICATE in os.environ:
        context.load_cert_chain(os.environ[_CERTIFICATE], os.environ.get(_KEY))
    return http.client.HTTPSConnection(host, endpoint.port, timeout=_SECONDS, context=context)


def _admin(file: Path) -> tuple[Path, AdminTable]:
    """The folder of the table, and the table; mistakes elsewhere in the file do not matter here."""
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
    return source.folder_of(("admin",)), table


def path_of(*parts: str, **query: object) -> str:
    """A path of these parts, with the parameters that are not None."""
    path = "".join(f"/{quote(part, safe='')}" for part in parts)
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def endpoint_command(name: str, text: str) -> Callable[..., None]:
    """Make a command for one endpoint.

    Args:
        name: The name of the command.
        text: Its help.
    """

    @click.command(cls=Command, name=name, help=text)
    @click.argument("endpoint")
    @configuration_file
    def command(endpoint: str, file: Path) -> None:
        click.echo(ask(file, "POST", path_of("endpoints", endpoint, name))["done"])

    return command
