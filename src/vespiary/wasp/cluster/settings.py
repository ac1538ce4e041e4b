"""The table `cluster`: where the broker is, and how to log in."""

from __future__ import annotations

import importlib.util
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import UNSET

from vespiary._toml_files import Problem
from vespiary.wasp.reading import Source
from vespiary.wasp.schema import ClusterTable
from vespiary.wasp.settings import bytes_of

__all__ = ["QUEUE_BYTES_MAX", "ClusterSettings", "cluster_of"]

QUEUE_BYTES_MAX = 8 << 20
"""Enough for some seconds of a busy server, and little compared with its memory."""

_SCHEMES = ("nats", "tls")
_NAME_EXPECTED = "expected a name of letters, digits, '-' and '_'"


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How a process reaches the others.

    Attributes:
        urls: The brokers.
        name: The name of the cluster: several can share a broker.
        options: Further options for the client: how it logs in.
        queue_bytes_max: How many bytes of published messages are kept.
    """

    urls: tuple[str, ...]
    name: str
    options: dict[str, Any]
    queue_bytes_max: int

    @property
    def shown(self) -> str:
        """The brokers for the log, without passwords."""
        parts = [urlsplit(url) for url in self.urls]
        return ", ".join(f"{one.scheme}://{one.netloc.rpartition('@')[2]}" for one in parts)


def cluster_of(source: Source, value: str | ClusterTable | None) -> ClusterSettings | None:
    """The settings; None if there is no cluster, or if they are wrong, which is reported."""
    if value is None:
        return None
    table = ClusterTable(url=value) if isinstance(value, str) else value
    known = len(source.faults)
    at_url = ("cluster",) if isinstance(value, str) else ("cluster", "url")
    urls = tuple(part.strip() for part in table.url.split(","))
    for url in urls:
        wrong = _wrong_url(url)
        if wrong is not None:
            source.report(Problem(at_url, f"expected nats://HOST:PORT or tls://HOST:PORT; {wrong}"))
    if importlib.util.find_spec("nats") is None:
        text = "needs nats-py: pip install 'vespiary[cluster]'"
        source.report(Problem(("cluster",), text))
    if not table.name or not all(part.isalnum() for part in _parts(table.name)):
        shown = source.shown(("cluster", "name"), table.name)
        source.report(Problem(("cluster", "name"), f"{_NAME_EXPECTED}; got {shown}"))
    options = _login(source, table) | _tls(source, table, urls)
    most: int | None = QUEUE_BYTES_MAX
    if table.queue_bytes_max is not UNSET:
        place = ("cluster", "queue_bytes_max")
        most = bytes_of(source, table.queue_bytes_max, place)
        if most is not None and most < 1:
            source.report(Problem(place, f"expected 1 or more; got {most}"))
    if len(source.faults) > known or most is None:
        return None
    return ClusterSettings(urls, table.name, options, most)


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("-", "_").split("_") if part] if name.isascii() else [""]


def _wrong_url(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in _SCHEMES:
        return f"the scheme is {parts.scheme!r}"
    if not parts.hostname or port == 0:
        return "a host is missing" if not parts.hostname else "0 is not a port"
    return "a path has no effect" if parts.path.strip("/") or parts.query else None


def _login(source: Source, table: ClusterTable) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if table.token is not None:
        options["token"] = table.token
    if table.credentials is not None:
        place = ("cluster", "credentials")
        path = source.folder_of(place) / table.credentials
        if not path.is_file():
            source.report(Problem(place, f"{path} cannot be read: there is no such file"))
        elif importlib.util.find_spec("nkeys") is None:
            source.report(Problem(place, "needs nkeys: pip install nkeys"))
        options["user_credentials"] = str(path)
    return options


def _tls(source: Source, table: ClusterTable, urls: tuple[str, ...]) -> dict[str, Any]:
    """The context of TLS, for `tls://`."""
    place = ("cluster", "tls_ca")
    is_used = any(url.startswith("tls:") for url in urls)
    names = ("tls_ca", "tls_certificate", "tls_key")
    files = {name: getattr(table, name) for name in names if getattr(table, name) is not None}
    if not is_used:
        for name in files:
            source.report(Problem(("cluster", name), "is for tls:// only: write the url so"))
        return {}
    folder = source.folder_of(place)
    if ("tls_certificate" in files) != ("tls_key" in files):
        text = "tls_certificate and tls_key belong together: one of them is missing"
        source.report(Problem(("cluster",), text))
        return {}
    for name, value in files.items():
        if not Path(folder / value).is_file():
            text = f"{folder / value} cannot be read: there is no such file"
            source.report(Problem(("cluster", name), text))
            return {}
    try:
        context = ssl.create_default_context(
            cafile=folder / files["tls_ca"] if "tls_ca" in files else None
        )
        if "tls_key" in files:
            context.load_cert_chain(folder / files["tls_certificate"], folder / files["tls_key"])
    except (OSError, ssl.SSLError) as error:
        source.report(Problem(("cluster",), f"the certificates cannot be used: {error}"))
        return {}
    return {"tls": context}
