"""What `Connection.start_tls` may be given, and what the engine makes of it."""

from __future__ import annotations

from vespiary._certificates import watch
from vespiary._option_checks import wrong_option
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError
from vespiary.tls import ClientTLS, ServerTLS, default_client_tls

__all__ = ["start_tls_options"]


def start_tls_options(url: str, is_client: bool, tls: object) -> dict[str, object]:
    """Return the engine's options for TLS that begins on a living connection.

    Args:
        url: The URL of the connection's endpoint.
        is_client: Whether this end has connected.
        tls: What was given.

    Raises:
        ConfigurationError: the connection is not a stream, or the TLS is for the other end.
    """
    endpoint = Endpoint.parse(url)
    if endpoint.scheme not in ("tcp", "unix"):
        raise ConfigurationError(
            f"start_tls() is for tcp:// and unix:// connections, and this one belongs to {url}",
            subject="start_tls",
            value=url,
        )
    if not is_client:
        if not isinstance(tls, ServerTLS):
            raise wrong_option("tls", tls, "a ServerTLS on a server's connection")
        watch(tls)
        return {"tls": tls.native(is_http=False)}
    chosen = default_client_tls() if tls is None else tls
    if not isinstance(chosen, ClientTLS):
        raise wrong_option("tls", tls, "a ClientTLS or None on a client's connection")
    name = chosen.server_name or endpoint.host.partition("%")[0]
    if not name:
        raise ConfigurationError(
            f"start_tls() needs the name that the server's certificate is valid for, as {url} has"
            " no host: ClientTLS(server_name=...)",
            subject="server_name",
        )
    return {"tls": chosen.native(is_http=False), "tls_name": name}
