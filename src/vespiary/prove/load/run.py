"""Run a plan, and report its progress."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from vespiary._core import LoadRun
from vespiary._credentials import bare_url, basic_authorization, without_user_info
from vespiary.errors import ConfigurationError
from vespiary.prove.load.plan import Plan
from vespiary.prove.load.report import Progress, Report
from vespiary.prove.load.script import read_user, run_script
from vespiary.prove.memory.work import report_work

__all__ = ["LoadRefused", "run", "run_native"]

_LOOK_SECONDS = 0.1
_AT_MOST: Final = {
    **dict.fromkeys(
        ("connections", "pipeline", "fragment_frames", "sources", "connect_concurrency"), 2**32 - 1
    ),
    **dict.fromkeys(("messages", "size", "seed"), 2**64 - 1),
}
"""What the native run can be given; it has narrower limits of its own."""

_BODILESS: Final = ("GET", "HEAD")


class LoadRefused(ConfigurationError):
    """The plan is wrong; the text names the option and what it allows."""


def run(plan: Plan, watch: Callable[[Progress], None] | None = None) -> Report:
    """Do what `plan` says, and return the report.

    `watch` is called with the progress about ten times per second, and once more at the end. The
    first KeyboardInterrupt stops sending and waits for what is in flight, unless the server has
    been silent for 0.2 s; the second closes at once. The report then is not `complete`.

    Resource handling: the process's soft limit of descriptors, and as root the hard one, is raised
    to what the plan needs, and stays raised.

    Raises:
        LoadRefused: the plan is wrong.
        OSError: the system refuses what the run needs, such as enough descriptors; the text says
            what to do. A server that refuses connections is an error in the report only.
    """
    return Report.from_native(run_native(plan, watch))


class Interim(Protocol):
    """Wants reports of what was done so far."""

    def is_due(self, seconds: float) -> bool:
        """Whether it wants one now, so many seconds after the beginning."""

    def report(self, told: Mapping[str, Any], seconds: float) -> None:
        """Take it."""


def run_native(
    plan: Plan,
    watch: Callable[[Progress], None] | None = None,
    interim: Interim | None = None,
) -> dict[str, Any]:
    """The same, with the report as the JSON object that `vespiary load --json` writes."""
    if plan.script is not None:
        return asyncio.run(run_script(read_user(plan.script), plan, watch))
    try:
        native = LoadRun([_target(url) for url in plan.urls], **_options(plan))
    except UnicodeEncodeError as error:
        raise LoadRefused("a URL, a header or an option has bytes that are not UTF-8") from error
    except ValueError as error:
        raise LoadRefused(_bare_text(str(error), plan)) from error
    reported = 0
    while True:
        try:
            progress = Progress.from_native(native.step(_LOOK_SECONDS))
            report_work(progress.received - reported)
            reported = progress.received
            if watch is not None:
                watch(progress)
            if progress.over:
                return native.finish()
            if interim is not None and interim.is_due(progress.seconds):
                so_far = native.so_far()
                if so_far is not None:
                    interim.report(so_far, progress.seconds)
        except KeyboardInterrupt:
            native.stop()


def _options(plan: Plan) -> dict[str, Any]:
    """The options by the names that the native run has for them."""
    options = {field.name: getattr(plan, field.name) for field in fields(plan)}
    for name in ("url", "further_urls", "script", "ca", "certificate", "key"):
        del options[name]
    for name, most in _AT_MOST.items():
        value = options[name]
        if value is not None and value > most:
            raise LoadRefused(f"{name} is {value}; it must be at most {most}")
    for name in ("headers", "subprotocols", "steps"):
        options[name] = list(options[name])
    options["own"] = list(options.pop("data"))
    if plan.is_http and not plan.data and plan.method in _BODILESS:
        options["size"] = 0
    options["ca"] = None if plan.ca is None else _read("ca", plan.ca)
    if plan.certificate is not None:
        key = plan.certificate if plan.key is None else plan.key
        options["identity"] = _read("cert", plan.certificate), _read("key", key)
    return options


def _bare_text(text: str, plan: Plan) -> str:
    """An error's text without the query of a URL, which can be a secret."""
    for url in plan.urls:
        query = without_user_info(url).removeprefix(bare_url(url))
        text = text.replace(query, "") if query else text
    return text


def _read(option: str, path: str | os.PathLike[str]) -> bytes:
    """A file of certificates or keys."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise LoadRefused(f"--{option}: {path} cannot be read: {error.strerror}") from error


def _target(url: str) -> tuple[str, list[tuple[str, str]]]:
    """A URL without its user name and password, and the header line for them."""
    bare, asked = bare_url(url), without_user_info(url)
    if asked == url:
        return url, []
    try:
        parts = urlsplit(url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        raise LoadRefused(f"{bare!r} has a malformed user name or password") from None
    authorization = basic_authorization(user, password)
    if parts.scheme not in ("ws", "wss", "http", "https"):
        raise LoadRefused(
            f"{bare!r}: only ws, wss, http and https URLs can have a user name and a password"
        )
    if authorization is None:
        raise LoadRefused(f"{bare!r}: its user name or password cannot be sent (RFC 7617)")
    return asked, [("Authorization", authorization)]
