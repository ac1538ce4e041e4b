"""The dashboard: pages that the server renders, with live charts.

Each page is complete without JavaScript. With it, htmx sends the forms and loads the tables again,
and uPlot draws what comes over the WebSocket `/live`. Both are in `static`, with their licences.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import jinja2

from vespiary._amounts import shown_bytes, shown_seconds
from vespiary._counted import counted
from vespiary.wasp.access import CSRF_FIELD, Access, Who
from vespiary.wasp.bounds import BOUNDS
from vespiary.wasp.connections import ConnectionQuery
from vespiary.wasp.latency import quantile
from vespiary.wasp.live import Live
from vespiary.wasp.log_records import LEVELS
from vespiary.wasp.snapshots import snapshot
from vespiary.wasp.worker_calls import Refused, WorkerSilent

if TYPE_CHECKING:
    from vespiary.request import Request, Response
    from vespiary.wasp.control import Control
    from vespiary.wasp.platform import Platform

__all__ = ["Dashboard"]

_HERE = Path(__file__).parent
_KINDS = {".js": "text/javascript", ".css": "text/css", ".txt": "text/plain"}
_PAGES = {
    "": "Overview",
    "endpoints": "Endpoints",
    "connections": "Connections",
    "workers": "Workers",
    "log": "Log",
    "time-wait": "TIME_WAIT",
}
_LINES = 200
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'",
}
_ORDERS = {
    "": "as they came",
    "open_seconds": "time open",
    "bytes_received": "bytes received",
    "bytes_sent": "bytes sent",
    "messages_received": "messages received",
    "messages_sent": "messages sent",
    "queued_bytes": "bytes that wait",
}


class Dashboard:
    """Answers the requests of browsers.

    Args:
        platform: What is served.
        control: Carries out commands.
        access: Who may do what.
    """

    def __init__(self, platform: Platform, control: Control, access: Access) -> None:
        self._platform, self._control, self._access = platform, control, access
        self._templates = _templates()
        self.live = Live(access, functools.partial(snapshot, platform, control))

    async def answer(self, request: Request, who: Who | None) -> Response | None:
        """Answer a request for a page; None if it is not one."""
        path = request.path
        if path.startswith("/static/"):
            return _file(request, path.removeprefix("/static/"))
        if path in ("/login", "/logout"):
            return self._login(request)
        if request.method not in ("GET", "HEAD"):
            return None
        if path == "/":
            return request.respond(303, headers={"Location": "/dashboard"})
        if path != "/dashboard" and not path.startswith("/dashboard/"):
            return None
        if who is None:
            if not self._access.has_tokens:
                return None
            return request.respond(303, headers={"Location": "/login"})
        name, _, rest = path.removeprefix("/dashboard").strip("/").partition("/")
        if name not in _PAGES or (rest and name != "connections"):
            return request.respond(404, "there is no such page\n")
        try:
            return await self._page(request, who, name, rest)
        except (Refused, WorkerSilent) as error:
            return self._rendered(request, 409, "failed.html", name, who, text=str(error))

    async def _page(self, request: Request, who: Who, name: str, rest: str) -> Response:
        if rest:
            found = await self._control.inspect(rest)
            return self._rendered(request, 200, "connection.html", name, who, found=found)
        makers: dict[str, Callable[[Request], Awaitable[dict[str, Any]]]] = {
            "connections": self._connections,
            "log": self._log,
        }
        make = makers.get(name, self._snapshot)
        values = await make(request)
        template = f"{name.replace('-', '_') or 'overview'}.html"
        return self._rendered(request, 200, template, name, who, **values)

    async def _snapshot(self, request: Request) -> dict[str, Any]:
        del request
        return {"now": await snapshot(self._platform, self._control), "bounds": BOUNDS}

    async def _connections(self, request: Request) -> dict[str, Any]:
        asked = dict(request.query_parameters)
        query = ConnectionQuery.parse(asked)
        page = await self._control.connections(query)
        fields = {name: value for name, value in asked.items() if value and name != "offset"}

        def link(offset: int) -> str:
            return "/dashboard/connections?" + urlencode(fields | {"offset": offset})

        last = query.offset + len(page["rows"])
        return {
            "page": page,
            "asked": asked,
            "orders": _ORDERS,
            "names": list(self._platform.configuration.endpoints),
            "workers": self._worker_numbers(),
            "before": link(max(0, query.offset - query.limit)) if query.offset else None,
            "after": link(last) if last < page["count"] else None,
        }

    def _worker_numbers(self) -> list[int]:
        return [one.number for one in self._platform.server.statistics().workers]

    async def _log(self, request: Request) -> dict[str, Any]:
        level = request.query_parameters.get("level", "") or "debug"
        if level not in LEVELS:
            raise Refused(f"level: expected one of {', '.join(LEVELS)}; got {level!r}")
        answers = await self._control.gathered("log", {"count": _LINES, "level": level})
        records = [one | {"worker": number} for number, many in answers for one in many]
        records.sort(key=lambda one: float(one["time"]))
        audits = await self._control.gathered("audit", {})
        entries = sorted(
            (entry for _, many in audits for entry in many), key=lambda one: str(one["time"])
        )
        return {
            "records": records[-_LINES:][::-1],
            "entries": entries[-_LINES:][::-1],
            "level": level,
            "levels": LEVELS,
        }

    def _login(self, request: Request) -> Response:
        if request.path == "/logout" or not self._access.has_tokens:
            headers = {"Location": "/", "Set-Cookie": "vespiary=; Path=/; Max-Age=0"}
            return request.respond(303, headers=headers)
        if request.method != "POST":
            return self._rendered(request, 200, "login.html", "", None, failed=False)
        try:
            form = request.form
        except ValueError:
            return request.respond(400, "the form is not valid\n")
        if self._access.is_forged(request, form.get(CSRF_FIELD)):
            return request.respond(403, "this page is too old: load it again\n")
        role = self._access.role_of(form.get("token", ""))
        peer = request.peer
        who = Who(f"browser at {peer[0] if isinstance(peer, tuple) else peer}", role or "reader")
        if role is None:
            self._control.audit.write(who, "log in", {}, "refused: this is not a token")
            return self._rendered(request, 403, "login.html", "", None, failed=True)
        self._control.audit.write(who, "log in", {}, "ok")
        headers = {"Location": "/dashboard", "Set-Cookie": self._access.cookie(role)}
        return request.respond(303, headers=headers)

    def _rendered(
        self,
        request: Request,
        status: int,
        template: str,
        here: str,
        who: Who | None,
        **values: Any,
    ) -> Response:
        csrf = self._access.csrf(request)
        body = self._templates.get_template(template).render(
            pages=_PAGES,
            here=here,
            who=who,
            may_change=who is not None and who.role == "admin",
            has_tokens=self._access.has_tokens,
            csrf=csrf,
            headers=json.dumps({"X-CSRF-Token": csrf}),
            configuration=self._platform.configuration.path,
            **values,
        )
        return request.respond(status, body.encode(), _HEADERS)


def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters["grouped"] = lambda number: f"{number:,}".replace(",", "\u202f")
    made.filters["size"] = shown_bytes
    made.filters["moment"] = lambda seconds: f"{datetime.fromtimestamp(seconds, UTC):%d %b %H:%M}"
    made.filters["clock"] = lambda seconds: f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}"
    made.filters["duration"] = shown_seconds
    made.filters["counted"] = counted
    made.filters["quantile"] = _quantile
    return made


def _quantile(values: dict[str, Any] | None, share: float) -> str:
    """The upper end of the range in which a share of all durations ends."""
    found = None if values is None else quantile(values["counts"], share)
    if found is None:
        return "unknown"
    return f"{found * 1000:g} ms" if found != float("inf") else "over 10 s"


@functools.cache
def _static() -> dict[str, tuple[bytes, str]]:
    """The content and the type of each file of the pages, by its name."""
    return {
        one.name: (one.read_bytes(), _KINDS.get(one.suffix, "application/octet-stream"))
        for one in (_HERE / "static").iterdir()
    }


def _file(request: Request, name: str) -> Response:
    """A file of the pages; they are part of the release, so browsers may keep them for an hour."""
    found = _static().get(name)
    if found is None:
        return request.respond(404, "there is no such file\n")
    body, kind = found
    headers = {
        "Content-Type": f"{kind}; charset=utf-8",
        "Cache-Control": "private, max-age=3600",
        "X-Content-Type-Options": "nosniff",
    }
    return request.respond(200, body, headers)
