"""Basic authentication, RFC 7617: what a user name and a password become."""

from __future__ import annotations

import base64
import re

__all__ = ["basic_authorization"]


def basic_authorization(user: str, password: str) -> str | None:
    """The value of `Authorization` or `Proxy-Authorization`, in UTF-8 (section 2).

    None where they cannot be sent: the user name has a colon, or either a control character.
    """
    if ":" in user or re.search(r"[\x00-\x1f\x7f]", user + password):
        return None
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
