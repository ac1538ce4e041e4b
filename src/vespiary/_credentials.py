"""User names and passwords: basic authentication (RFC 7617), and URLs in errors without secrets."""

from __future__ import annotations

import base64
import re

__all__ = ["bare_url", "basic_authorization", "basic_credentials", "without_user_info"]

_USER_INFO = re.compile(
    r"""
    ^(?!\s*(?:[a-z]+\+)?unix:///)     # The path of a Unix socket may hold any character.
    (\s*(?:[a-z][a-z0-9+.-]*:/+)?)
    (?:
        [^/?#]*@                       # RFC 3986 section 3.2.1,
        | [^/?#@:\[]+ : [^/?#@]* [^/?#@0-9] [^@]* @  # or a password with a slash in it.
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)


def without_user_info(url: str) -> str:
    """A URL without user name and password, even if it is not valid."""
    return _USER_INFO.sub(r"\1", url)


def bare_url(url: str) -> str:
    """A URL as errors and logs quote it: without what can be a secret, even if it is not valid.

    User name, password, query (`?token=...`) and fragment are left out.
    """
    bare = without_user_info(url)
    head, _, rest = bare.partition("://")
    scheme = head.strip().lower()
    if scheme in ("unix", "unixgram"):
        return bare
    before = ""
    if scheme.endswith("+unix"):
        # The path of a Unix socket may hold any character but a colon, which ends it.
        before = bare[: len(head) + 3] + rest.partition(":")[0]
    return before + re.split("[?#]", bare[len(before) :], maxsplit=1)[0]


def basic_authorization(user: str, password: str) -> str | None:
    """The value of `Authorization` or `Proxy-Authorization`, in UTF-8 (section 2).

    None where they cannot be sent: the user name has a colon, or either a control character.
    """
    if ":" in user or re.search(r"[\x00-\x1f\x7f]", user + password):
        return None
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def basic_credentials(authorization: str) -> tuple[str, str] | None:
    """The user name and the password of an `Authorization` field, in UTF-8 (section 2).

    None where it has another scheme, or is malformed.
    """
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = (
            base64.b64decode(encoded.strip(" "), validate=True).decode().partition(":")
        )
    except ValueError:
        return None
    return (user, password) if colon else None
