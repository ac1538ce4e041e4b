"""The administration over HTTP: health checks, metrics, the operator's commands, the dashboard.

`access` says who may use it. Requests of programs are answered with JSON, and those of the
dashboard's forms with a line of HTML.
"""

from __future__ import annotations

import contextlib
import html
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vespiary._site import Site
from vespiary._toml_files import FileError, Problem
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError
from vespiary.handler import Handler
from vespiary.server_options import ServerOptions
from vespiary.wasp.access import CSRF_FIELD, Access, Who
from vespiary.wasp.audit import Audit
from vespiary.wasp.connections import ConnectionQuery
from vespiary.wasp.control import Control
from vespiary.wasp.handover import UpgradeFailed
from vespiary.wasp.log_records import LEVELS
from vespiary.wasp.settings import given, tls_of
from vespiary.wasp.snapshots import snapshot
from vespiary.wasp.taps import TapOptions
from vespiary.wasp.worker_calls import Refused, WorkerSilent

if TYPE_CHECKING:
    from vespiary.request import Request, Response
    from vespiary.server import Server
    from vespiary.wasp.platform import Platform
    from vespiary.wasp.reading import Source
    from vespiary.wasp.schema import AdminTable

__all__ = ["Admin", "admin_sites"]

_MODE = 0o600
_COMMANDS = ("suspend", "resume", "drain", "disconnect")
_READY = ("serving", "not installed")
_OPEN = ("/healthz", "/readyz")
"""What load balancers ask for without a token."""
_RECORDS_MAX = 1000
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_THERE = """\
there are
GET   /healthz /readyz /metrics /status /snapshot /connections /connections/ID /log /audit
GET   /endpoints/NAME/limits
POST  /reload /upgrade /log-level /connections/ID/disconnect /connections/ID/tap
POST  /endpoints/NAME/ with suspend, resume, drain, disconnect, limits
"""


def admin_sites(platform: Platform, source: Source, table: AdminTable) -> list[Site]:
    """The endpoints of the administration.

    Args:
        platform: What is administered.
        source: The files of the configuration.
        table: Its table `[admin]`.

    Raises:
        ConfigurationError: prometheus-client or Jinja2 is missing.
    """
    options: ServerOptions = {}
    endpoint = Endpoint.parse(table.url)
    if endpoint.is_unix:
        values = given(table)
        options["mode"] = int(values["mode"], 8) if "mode" in values else _MODE
    if table.tls is not None:
        tls = tls_of(source, table.tls, ("admin", "tls"))
        if tls is not None:
            options["tls"] = tls
    audit_file = None
    if table.audit_file is not None:
        audit_file = source.folder_of(("admin", "audit_file")) / table.audit_file
        if platform.sockets is not None:
            _check_audit_file(source, audit_file)
    admin = Admin(platform, table, audit_file)
    sites = [Site.make(admin, table.url, options)]
    if admin.dashboard is not None:
        live = endpoint.scheme.replace("http", "ws", 1)
        url = table.url.replace(endpoint.scheme, live, 1).rstrip("/") + "/live"
        sites.append(Site.make(admin.dashboard.live, url, options))
    return sites


def _check_audit_file(source: Source, file: Path) -> None:
    """Report a place where no file can be. A service manager may make the folder at the start.

    Raises:
        FileError: it is such a place.
    """
    if file.is_dir():
        source.report(Problem(("admin", "audit_file"), f"is a folder: {file}"))
    elif not file.parent.is_dir():
        source.report(Problem(("admin", "audit_file"), f"there is no folder {file.parent}"))
    source.check()


class Admin(Handler):
    """Answers the requests of operators."""

    def __init__(self, platform: Platform, table: AdminTable, audit_file: Path | None) -> None:
        try:
            from vespiary.wasp.dashboard import Dashboard
            from vespiary.wasp.metrics import Metrics
        except ImportError as error:
            raise ConfigurationError(
                f"[admin] needs {error.name}: pip install 'vespiary[wasp]'", subject="admin"
            ) from None
        self._platform = platform
        self.access = Access(table)
        self.control = Control(platform, Audit(audit_file))
        self._metrics = Metrics(platform, self.control)
        self.dashboard = Dashboard(platform, self.control, self.access) if table.dashboard else None

    async def on_start(self, server: Server) -> None:
        """Take part in what other workers do."""
        await self.control.start(server)
        self._platform.loop_delay.start()

    def on_stop(self, server: Server) -> None:
        """Take no part any more."""
        del server
        self.control.stop()

    async def on_request(self, request: Request) -> Response:
        """Answer a request."""
        foreign = self.access.foreign(request)
        if foreign is not None:
            return foreign
        who = self.access.who(request)
        if self.dashboard is not None:
            page = await self.dashboard.answer(request, who)
            if page is not None:
                return page
        if who is None and request.path not in _OPEN:
            headers = {"WWW-Authenticate": 'Bearer realm="vespiary"'}
            return request.respond(401, "send Authorization: Bearer TOKEN\n", headers)
        if request.method in ("GET", "HEAD"):
            return await self._answered(request, self._look(request))
        if request.method != "POST":
            return request.respond(405, "use GET or POST\n", {"Allow": "GET, HEAD, POST"})
        assert who is not None or request.path in _OPEN
        try:
            fields = _fields(request)
        except ValueError as error:
            return request.respond(400, f"the form is not valid: {error}\n")
        token = fields.pop(CSRF_FIELD, None)
        if who is None or self.access.is_forged(request, token):
            text = "this page is not of this server, or too old: load it again\n"
            return request.respond(403, text)
        if who.role != "admin":
            return request.respond(403, "this is for the role admin only\n")
        return await self._answered(request, self._command(request, who, fields))

    async def _answered(self, request: Request, answer: Any) -> Response:
        """The response for an answer, or for why there is none."""
        try:
            found = await answer
        except FileError as error:
            return _failed(request, 409, list(error.lines))
        except (Refused, WorkerSilent, UpgradeFailed) as error:
            return _failed(request, 409, [str(error)])
        except Exception as error:
            return _failed(request, 500, [f"{type(error).__name__}: {error}"])
        if found is None:
            return request.respond(404, _THERE)
        response: Response = found
        return response

    async def _look(self, request: Request) -> Response | None:
        operations, parts = self._platform.operations, request.path.strip("/").split("/")
        match parts:
            case ["healthz"]:
                return request.respond(200, "ok\n")
            case ["readyz"]:
                states = operations.states()
                late = [f"{name}: {state}" for name, state in states.items() if state not in _READY]
                return request.respond(503 if late else 200, "\n".join(late or ["ok"]) + "\n")
            case ["metrics"]:
                body, content_type = await self._metrics.written(request.headers.get("accept"))
                return request.respond(200, body, {"Content-Type": content_type})
            case ["status"]:
                return _json(request, 200, operations.status())
            case ["snapshot"]:
                return _json(request, 200, await snapshot(self._platform, self.control))
            case ["connections"]:
                query = ConnectionQuery.parse(dict(request.query_parameters))
                return _json(request, 200, await self.control.connections(query))
            case ["connections", connection_id]:
                return _json(request, 200, await self.control.inspect(connection_id))
            case ["endpoints", name, "limits"]:
                return _json(request, 200, operations.limits(name))
            case ["log"]:
                return _json(request, 200, {"records": await self._records(request)})
            case ["audit"]:
                return _json(request, 200, {"entries": await self._entries()})
        return None

    async def _records(self, request: Request) -> list[dict[str, Any]]:
        text = request.query_parameters.get("count", "100")
        level = request.query_parameters.get("level", "debug")
        if not text.isdecimal() or not 1 <= int(text) <= _RECORDS_MAX:
            raise Refused(f"count: expected a number from 1 to {_RECORDS_MAX}; got {text!r}")
        if level not in LEVELS:
            raise Refused(f"level: expected one of {', '.join(LEVELS)}; got {level!r}")
        return await log_records(self.control, int(text), level)

    async def _entries(self) -> list[dict[str, Any]]:
        answers = await self.control.gathered("audit", {})
        found = [entry for _, entries in answers for entry in entries]
        return sorted(found, key=lambda entry: str(entry["time"]))

    async def _command(
        self, request: Request, who: Who, fields: Mapping[str, str]
    ) -> Response | None:
        control, parts = self.control, request.path.strip("/").split("/")
        match parts:
            case ["reload"]:
                return _done(request, await control.reload(who))
            case ["upgrade"]:
                return _done(request, await control.upgrade(who))
            case ["log-level"]:
                level, logger = _needed(fields, "level"), fields.get("logger", "")
                return _done(request, await control.set_level(who, logger, level))
            case ["connections", connection_id, "disconnect"]:
                return _done(request, await control.disconnect_one(who, connection_id))
            case ["connections", connection_id, "tap"]:
                options = TapOptions.parse(dict(fields))
                items = await control.tap(who, connection_id, options)
                headers = {**_HEADERS, "Content-Type": "application/x-ndjson"}
                return request.respond(200, _lines(items), headers)
            case ["endpoints", name, "limits"]:
                bound, value = _needed(fields, "name"), _needed(fields, "value")
                return _done(request, await control.set_limit(who, name, bound, value))
            case ["endpoints", name, "disconnect"]:
                peer = fields.get("peer") or None
                return _done(request, await control.disconnect(who, name, peer))
            case ["endpoints", name, command] if command in _COMMANDS:
                return _done(request, await control.endpoint(who, command, name))
        return None


async def log_records(control: Control, count: int, level: str) -> list[dict[str, Any]]:
    """The latest records of all processes, the oldest first."""
    answers = await control.gathered("log", {"count": count, "level": level})
    found = [record | {"worker": number} for number, records in answers for record in records]
    return sorted(found, key=lambda record: float(record["time"]))[-count:]


def _fields(request: Request) -> dict[str, str]:
    """The parameters of a command: those of the query, and those of a form."""
    fields = dict(request.query_parameters)
    kind = (request.headers.get("content-type") or "").partition(";")[0].strip()
    if kind == "application/x-www-form-urlencoded":
        fields |= dict(request.form)
    return fields


def _needed(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name)
    if not value:
        raise Refused(f"the parameter {name} is missing", subject=name)
    return value


async def _lines(items: AsyncGenerator[dict[str, Any]]) -> AsyncIterator[bytes]:
    try:
        async with contextlib.aclosing(items):
            async for item in items:
                yield json.dumps(item, ensure_ascii=False).encode() + b"\n"
    except WorkerSilent as error:
        yield json.dumps({"end": str(error)}).encode() + b"\n"


def _is_form(request: Request) -> bool:
    return request.headers.get("hx-request") is not None


def _done(request: Request, text: str) -> Response:
    if _is_form(request):
        body = f'<p class="done">{html.escape(text)}</p>'
        return request.respond(200, body, {**_HEADERS, "Content-Type": "text/html; charset=utf-8"})
    return _json(request, 200, {"done": text})


def _failed(request: Request, status: int, lines: list[str]) -> Response:
    if _is_form(request):
        body = f'<p class="failed">{"<br>".join(map(html.escape, lines))}</p>'
        headers = {**_HEADERS, "Content-Type": "text/html; charset=utf-8"}
        return request.respond(status, body, headers)
    return _json(request, status, {"errors": lines})


def _json(request: Request, status: int, value: dict[str, Any]) -> Response:
    body = json.dumps(value, indent=2) + "\n"
    return request.respond(status, body, {**_HEADERS, "Content-Type": "application/json"})
