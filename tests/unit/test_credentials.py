"""Basic authentication: the user name and the password of a request (RFC 7617 section 2)."""

from typing import Any

import pytest

from vespiary._credentials import basic_authorization
from vespiary.request import Headers, Request


def asked(*fields: str) -> Request:
    connection: Any = None
    headers = Headers(("Authorization", field) for field in fields)
    return Request(connection, "GET", "/", headers)


@pytest.mark.parametrize(
    ("user", "password"), [("ann", "nest"), ("björn", "a:b €"), ("", "x"), ("x", ""), ("", "")]
)
def test_what_a_client_sends_is_read(user: str, password: str) -> None:
    field = basic_authorization(user, password)
    assert field is not None
    assert asked(field).basic_credentials == (user, password)
    assert asked(field.replace("Basic ", "bASIC  ") + " ").basic_credentials == (user, password)


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("",),
        ("Basic",),
        ("Basic YW5u",),
        ("Basic YW5uOm5lc3Q",),
        ("Basic YW5u-m5lc3Q=",),
        ("Basic YW5uOv8=",),
        ("Bearer YW5uOm5lc3Q=",),
        ("Basic YW5uOm5lc3Q=", "Basic YW5uOm5lc3Q="),
    ],
)
def test_what_is_missing_malformed_or_ambiguous_is_none(fields: tuple[str, ...]) -> None:
    assert asked(*fields).basic_credentials is None
