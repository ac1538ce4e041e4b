"""Who may use the administration, and for what.

There are two roles. A `reader` may look at everything but the contents of connections; an `admin`
may also change things. Who has which one:

* Without a token and without client certificates, everyone who can connect is an admin: every user
  of this machine on a loopback address, and the owner of a Unix socket.
* With tokens, a request needs `Authorization: Bearer TOKEN`. A browser gets a cookie instead, for
  the token that was typed into the form. The cookie contains no token: it is the role and the time
  until which it is valid, signed with a key that is made of the token (HMAC-SHA-256).
* With TLS and client certificates, a verified certificate is enough.

A page of another site can send requests to a loopback address from the browser of an operator:

* The host name of the site may lead to 127.0.0.1 (DNS rebinding). So on a loopback address, `Host`
  must be one.
* A request of another site's page has its `Origin`, or says so in `Sec-Fetch-Site`, and is refused.
* Changes that a browser asks for need a token against forged requests (CSRF) too, which only our
  pages contain. Programs send none of these fields, and need no such token.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vespiary.endpoint import Endpoint

if TYPE_CHECKING:
    from vespiary.request import Request, Response
    from vespiary.wasp.schema import AdminTable

__all__ = ["COOKIE", "CSRF_FIELD", "CSRF_HEADER", "Access", "Who", "is_loopback"]

Role = Literal["admin", "reader"]

COOKIE = "vespiary"
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
_SESSION_SECONDS = 12 * 3600
"""A working day: then the token is asked for again."""
_FROM_BROWSERS = ("origin", "referer", "cookie", "sec-fetch-site")


@dataclass(frozen=True, slots=True)
class Who:
    """Who sends a request.

    Attributes:
        name: For the audit log.
        role: What they may do.
    """

    name: str
    role: Role


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and nothing else."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Access:
    """Decides about requests.

    It is made before the first fork, so that all workers accept the same cookies.
    """

    def __init__(self, table: AdminTable) -> None:
        endpoint = Endpoint.parse(table.url)
        self._is_local = not endpoint.is_unix and is_loopback(endpoint.host)
        self._scheme = "https" if endpoint.is_secure else "http"
        self._hosts = {host.lower() for host in table.hosts}
        pairs: tuple[tuple[Role, str | None], ...] = (
            ("admin", table.token),
            ("reader", table.read_token),
        )
        self._tokens: dict[Role, str] = {role: token for role, token in pairs if token is not None}
        self._readers = {one.replace(":", "").lower() for one in table.read_certificates}
        # Without tokens there are no cookies, and the key is only that of the CSRF token.
        own = secrets.token_bytes(32)
        self._keys: dict[Role, bytes] = {
            role: hashlib.sha256(b"vespiary session " + token.encode()).digest()
            for role, token in self._tokens.items()
        }
        self._own_key = self._keys.get("admin", own)

    @property
    def has_tokens(self) -> bool:
        """Whether a browser can ask for a cookie."""
        return bool(self._tokens)

    def foreign(self, request: Request) -> Response | None:
        """The answer to a request of another site's page; None if it is not one."""
        authority = (request.authority or "").lower()
        host = _host(authority)
        if self._hosts and host and host not in self._hosts and not is_loopback(host):
            return request.respond(403, _unknown(host))
        if self._is_local and host and not is_loopback(host) and host not in self._hosts:
            return request.respond(403, _unknown(host))
        origin = request.headers.get("origin")
        if origin is not None and origin.lower() != f"{self._scheme}://{authority}":
            return request.respond(403, "pages of other sites may not use this\n")
        site = request.headers.get("sec-fetch-site")
        is_reading = request.method in ("GET", "HEAD")
        if not is_reading and site in ("cross-site", "same-site"):
            return request.respond(403, "pages of other sites may not use this\n")
        return None

    def who(self, request: Request) -> Who | None:
        """Who sends a request; None if they have to say so first."""
        certificate = _certificate(request)
        if certificate is not None:
            role: Role = "reader" if certificate in self._readers else "admin"
            return Who(f"certificate {certificate[:16]}", role)
        if not self._tokens:
            return Who(_local_name(request), "admin")
        return self._by_token(request) or self._by_cookie(request)

    def _by_token(self, request: Request) -> Who | None:
        sent = request.headers.get("authorization") or ""
        scheme, _, token = sent.partition(" ")
        found = self.role_of(token.strip()) if scheme.lower() == "bearer" else None
        return None if found is None else Who(f"token from {_address(request)}", found)

    def _by_cookie(self, request: Request) -> Who | None:
        parts = request.cookies.get(COOKIE, "").split(".")
        for role, key in self._keys.items():
            if len(parts) == 3 and parts[0] == role and parts[1].isdigit():
                signed = _signed(key, f"{role}.{parts[1]}")
                sent = parts[2].encode()
                if hmac.compare_digest(signed.encode(), sent) and int(parts[1]) > time.time():
                    return Who(f"session from {_address(request)}", role)
        return None

    def role_of(self, token: str) -> Role | None:
        """The role that a token has."""
        found: Role | None = None
        for role, expected in self._tokens.items():
            # All are compared, so that the time says nothing about them.
            if hmac.compare_digest(token.encode(), expected.encode()):
                found = role
        return found

    def cookie(self, role: Role) -> str:
        """The value of `Set-Cookie` for a browser that has sent a token."""
        until = int(time.time()) + _SESSION_SECONDS
        signed = _signed(self._keys[role], f"{role}.{until}")
        secure = "; Secure" if self._scheme == "https" else ""
        return (
            f"{COOKIE}={role}.{until}.{signed}; Path=/; Max-Age={_SESSION_SECONDS}; HttpOnly;"
            f" SameSite=Strict{secure}"
        )

    def csrf(self, request: Request) -> str:
        """What changes that the pages of this browser ask for have to contain."""
        return _signed(self._own_key, f"csrf {request.cookies.get(COOKIE, '')}")

    def is_forged(self, request: Request, field: str | None) -> bool:
        """Whether a browser asks for a change without the token of our pages.

        Args:
            request: The request.
            field: The field of its form, if there is one.
        """
        if not any(request.headers.get(name) is not None for name in _FROM_BROWSERS):
            return False
        sent = request.headers.get(CSRF_HEADER) or field or ""
        return not hmac.compare_digest(sent.encode(), self.csrf(request).encode())


def _signed(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _unknown(host: str) -> str:
    return f"the administration is not known by the name {host}: add it to admin.hosts\n"


def _host(authority: str) -> str:
    """The host of `host:port`, or of `[address]:port`."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


def _certificate(request: Request) -> str | None:
    """The SHA-256 of the client's verified certificate."""
    facts = request.connection.tls
    if facts is None or facts.peer_certificate is None:
        return None
    return hashlib.sha256(facts.peer_certificate).hexdigest()


def _address(request: Request) -> str:
    peer = request.peer
    return peer[0] if isinstance(peer, tuple) else (peer or "the Unix socket")


def _local_name(request: Request) -> str:
    return f"local user from {_address(request)}"
