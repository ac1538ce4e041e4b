"""The administration: health checks, metrics, status and the operator's commands, over HTTP.

Who may use it: anyone who can open its Unix socket (mode 600 by default), every user of this
machine if it is on a loopback address, or anyone who has its token. A page in a browser can send
requests to a loopback address too. So requests with `Origin`, and those for another host name
(DNS rebinding), are refused.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import os
from typing import TYPE_CHECKING, Any

from vespiary._counted import counted
from vespiary._site import Site
from vespiary._toml_files import FileError, Problem
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError
from vespiary.handler import Handler
from vespiary.server_options import ServerOptions
from vespiary.wasp.handover import UpgradeFailed
from vespiary.wasp.operations import Refused
from vespiary.wasp.reading import Source
from vespiary.wasp.schema import AdminTable
from vespiary.wasp.settings import given, mode_of

if TYPE_CHECKING:
    from vespiary.request import Request, Response
    from vespiary.wasp.platform import Platform

__all__ = ["admin_site", "check_admin"]

_MODE = 0o600
_COMMANDS = ("suspend", "resume", "drain", "disconnect")
_OPEN = ("/healthz", "/readyz")
"""What load balancers ask for without a token."""


def check_admin(source: Source, table: AdminTable | None) -> None:
    """Report an administration that would be open to others."""
    if table is None:
        return
    try:
        endpoint = Endpoint.parse(table.url)
    except ConfigurationError as error:
        source.report(Problem(("admin", "url"), str(error)))
        return
    if endpoint.scheme not in ("http", "http+unix"):
        text = f"expected a URL with http:// or http+unix://; got {table.url!r}"
        source.report(Problem(("admin", "url"), text))
    elif endpoint.target != "/":
        source.report(Problem(("admin", "url"), "expected a URL without a path"))
    elif not (endpoint.is_unix or _is_loopback(endpoint.host) or table.token):
        text = (
            f"is missing: {endpoint.host} is not a loopback address, so requests need a token:"
            " write token = '${file:PATH}'"
        )
        source.report(Problem(("admin", "token"), text))
    if table.token is not None and len(table.token) < _TOKEN_CHARACTERS_MIN:
        text = f"is too short: expected at least {_TOKEN_CHARACTERS_MIN} characters"
        source.report(Problem(("admin", "token"), text))
    values = given(table)
    if "mode" in values and not endpoint.is_unix:
        source.report(Problem(("admin", "mode"), "is for http+unix:// only: remove it"))
    elif "mode" in values:
        mode_of(source, values["mode"], ("admin", "mode"))


_TOKEN_CHARACTERS_MIN = 16


def admin_site(platform: Platform, table: AdminTable) -> Site:
    """The endpoint of the administration.

    Raises:
        ConfigurationError: prometheus-client is missing.
    """
    options: ServerOptions = {}
    if Endpoint.parse(table.url).is_unix:
        values = given(table)
        options["mode"] = int(values["mode"], 8) if "mode" in values else _MODE
    return Site.make(Admin(platform, table), table.url, options)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Admin(Handler):
    """Answers the requests of operators."""

    def __init__(self, platform: Platform, table: AdminTable) -> None:
        try:
            from vespiary.wasp.metrics import Metrics
        except ImportError:
            raise ConfigurationError(
                "[admin] needs prometheus-client: pip install 'vespiary[wasp]'", subject="admin"
            ) from None
        self._platform = platform
        self._token = table.token
        self._is_local = _is_loopback(Endpoint.parse(table.url).host)
        self._metrics = Metrics(platform)

    async def on_request(self, request: Request) -> Response:
        """Answer a request."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if request.method in ("GET", "HEAD"):
            return self._page(request)
        if request.method != "POST":
            return request.respond(405, "use GET or POST\n", {"Allow": "GET, HEAD, POST"})
        return await self._command(request)

    def _refusal(self, request: Request) -> Response | None:
        if request.headers.get("origin") is not None:
            return request.respond(403, "pages of browsers may not use this\n")
        host = (request.authority or "").rpartition(":")[0] or request.authority or ""
        if self._is_local and host and not _is_loopback(host.strip("[]")):
            return request.respond(403, f"this is not {host}\n")
        if self._token is None or request.path in _OPEN:
            return None
        sent = request.headers.get("authorization") or ""
        if hmac.compare_digest(sent.encode(), f"Bearer {self._token}".encode()):
            return None
        headers = {"WWW-Authenticate": 'Bearer realm="vespiary"'}
        return request.respond(401, "send Authorization: Bearer TOKEN\n", headers)

    def _page(self, request: Request) -> Response:
        if request.path == "/healthz":
            return request.respond(200, "ok\n")
        if request.path == "/readyz":
            states = self._platform.operations.states()
            late = [f"{name}: {state}" for name, state in states.items() if state != "serving"]
            return request.respond(503 if late else 200, "\n".join(late or ["ok"]) + "\n")
        if request.path == "/metrics":
            body, content_type = self._metrics.written(request.headers.get("accept"))
            return request.respond(200, body, {"Content-Type": content_type})
        if request.path == "/status":
            return _json(request, 200, self._platform.operations.status())
        return request.respond(404, "there are /healthz, /readyz, /metrics and /status\n")

    async def _command(self, request: Request) -> Response:
        parts = request.path.strip("/").split("/")
        try:
            if parts == ["reload"]:
                done = await self._platform.reload()
                return _json(request, 200, {"done": str(done)})
            if parts == ["upgrade"]:
                return _json(request, 200, {"done": await self._upgrade()})
            if len(parts) == 3 and parts[0] == "endpoints" and parts[2] in _COMMANDS:
                return _json(request, 200, {"done": await self._operate(request, *parts[1:])})
        except FileError as error:
            return _json(request, 409, {"errors": list(error.lines)})
        except (Refused, UpgradeFailed) as error:
            return _json(request, 409, {"errors": [str(error)]})
        except Exception as error:
            return _json(request, 500, {"errors": [f"{type(error).__name__}: {error}"]})
        there = f"there are /reload, /upgrade and /endpoints/NAME/ with {', '.join(_COMMANDS)}\n"
        return request.respond(404, there)

    async def _upgrade(self) -> str:
        process = await self._platform.upgrade()
        if self._platform.configuration.workers is None:
            return f"process {process} serves, and process {os.getpid()} drains"
        return f"process {process} starts the new program; its log says whether that serves"

    async def _operate(self, request: Request, name: str, command: str) -> str:
        operations = self._platform.operations
        if command == "suspend":
            operations.suspend(name)
        elif command == "resume":
            await operations.resume(name)
        elif command == "drain":
            await operations.drain(name)
        else:
            count = operations.disconnect(name, request.query_parameters.get("peer"))
            return f"closing {counted(count, 'connection')} of {name}"
        return f"{name}: {command}"


def _json(request: Request, status: int, value: dict[str, Any]) -> Response:
    body = json.dumps(value, indent=2) + "\n"
    return request.respond(status, body, {"Content-Type": "application/json"})
