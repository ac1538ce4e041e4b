"""What is wrong in the table `[admin]` of a configuration."""

from __future__ import annotations

from vespiary._toml_files import Problem
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError
from vespiary.wasp.access import is_loopback
from vespiary.wasp.reading import Source
from vespiary.wasp.schema import AdminTable
from vespiary.wasp.settings import given, mode_of, tls_of

__all__ = ["check_admin"]

_TOKEN_CHARACTERS_MIN = 16
_FINGERPRINT_CHARACTERS = 64
_SCHEMES = ("http", "https", "http+unix")


def check_admin(source: Source, table: AdminTable | None) -> None:
    """Report an administration that would be open to others, and other mistakes."""
    if table is None:
        return
    try:
        endpoint = Endpoint.parse(table.url)
    except ConfigurationError as error:
        source.report(Problem(("admin", "url"), str(error)))
        return
    if endpoint.scheme not in _SCHEMES:
        text = f"expected a URL with http://, https:// or http+unix://; got {table.url!r}"
        source.report(Problem(("admin", "url"), text))
    elif endpoint.target != "/":
        source.report(Problem(("admin", "url"), "expected a URL without a path"))
    else:
        _check_tls(source, table, endpoint)
        _check_openness(source, table, endpoint)
    _check_tokens(source, table)
    values = given(table)
    if "mode" in values and not endpoint.is_unix:
        source.report(Problem(("admin", "mode"), "is for http+unix:// only: remove it"))
    elif "mode" in values:
        mode_of(source, values["mode"], ("admin", "mode"))


def _check_tls(source: Source, table: AdminTable, endpoint: Endpoint) -> None:
    if endpoint.is_secure and table.tls is None:
        text = "is missing: https:// needs tls.certificate and tls.key"
        source.report(Problem(("admin", "tls"), text))
    elif table.tls is not None and not endpoint.is_secure:
        source.report(Problem(("admin", "tls"), "is for https:// only: write admin.url so"))
    elif table.tls is not None:
        tls_of(source, table.tls, ("admin", "tls"))
    for number, one in enumerate(table.read_certificates):
        digits = one.replace(":", "").lower()
        is_hexadecimal = all(character in "0123456789abcdef" for character in digits)
        if len(digits) != _FINGERPRINT_CHARACTERS or not is_hexadecimal:
            text = f"expected the SHA-256 of a certificate, as 64 hexadecimal digits; got {one!r}"
            source.report(Problem(("admin", "read_certificates", number), text))


def _check_openness(source: Source, table: AdminTable, endpoint: Endpoint) -> None:
    if endpoint.is_unix or is_loopback(endpoint.host) or table.token:
        return
    if _needs_certificates(table):
        return
    source.report(
        Problem(
            ("admin", "token"),
            f"is missing: {endpoint.host} is not a loopback address, so requests need a token:"
            " write token = '${file:PATH}', or require client certificates with tls.client_ca",
        )
    )


def _needs_certificates(table: AdminTable) -> bool:
    if table.tls is None:
        return False
    values = given(table.tls)
    return "client_ca" in values and values.get("client_certificate", "required") == "required"


def _check_tokens(source: Source, table: AdminTable) -> None:
    for name in ("token", "read_token"):
        value = getattr(table, name)
        if value is not None and len(value) < _TOKEN_CHARACTERS_MIN:
            text = f"is too short: expected at least {_TOKEN_CHARACTERS_MIN} characters"
            source.report(Problem(("admin", name), text))
    if table.read_token is None:
        return
    if table.token is None and not _needs_certificates(table):
        text = "is missing: with read_token only, nobody could change anything"
        source.report(Problem(("admin", "token"), text))
    elif table.read_token == table.token:
        source.report(Problem(("admin", "read_token"), "is the same as token: choose another one"))
