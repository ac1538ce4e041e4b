"""Which proxies in front of an endpoint are trusted to say whose connection or request it is."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Literal, cast, get_args

from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError

__all__ = ["ForwardedField", "forwarded_options", "proxy_networks"]

ForwardedField = Literal["x-forwarded-for", "forwarded"]
"""The header fields in which a proxy names its client."""

_UNIX = "unix"
_FIELD: ForwardedField = "x-forwarded-for"


def proxy_networks(endpoint: Endpoint, name: str, given: object) -> list[str]:
    """Return the networks as the engine takes them: an address, a slash, and a number of bits.

    Args:
        endpoint: Where the proxies connect to.
        name: The option, for an error's text.
        given: Its value.

    Raises:
        ConfigurationError: one is not a network, or cannot be where the endpoint is.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        text = "takes a list of addresses and networks, such as ['10.0.0.0/8']"
        raise _wrong(name, given, text)
    return [_network(endpoint, name, text) for text in given]


def forwarded_options(
    endpoint: Endpoint, trusted: object, field: object
) -> tuple[list[str], ForwardedField] | None:
    """Return whose word in which header field names the client, None for nobody's.

    Raises:
        ConfigurationError: an option is not valid, or has no effect.
    """
    networks = proxy_networks(endpoint, "forwarded_from", trusted)
    if networks and not endpoint.has_http:
        text = f"is for ws:// and http://, and {endpoint} has no requests"
        raise _wrong("forwarded_from", trusted, text)
    fields = get_args(ForwardedField)
    if field is not None and field not in fields:
        raise _wrong("forwarded_field", field, f"is one of {', '.join(fields)}")
    if networks:
        return networks, cast("ForwardedField", field or _FIELD)
    if field is not None:
        raise _wrong("forwarded_field", field, "has no effect without forwarded_from=")
    return None


def _network(endpoint: Endpoint, name: str, text: object) -> str:
    if not isinstance(text, str):
        raise _wrong(name, text, "takes addresses and networks as text")
    if text == _UNIX:
        if not endpoint.is_unix:
            raise _wrong(name, text, f"contains 'unix', but {endpoint} is not one")
        return text
    if endpoint.is_unix:
        what = f"takes 'unix' on {endpoint}: peers of a Unix socket have no IP address"
        raise _wrong(name, text, what)
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise _wrong(name, text, f"takes IP addresses and networks, {_advice(text)}") from None
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.scope_id is not None:
        raise _wrong(name, text, "takes networks without a zone")
    return str(network)


def _advice(text: str) -> str:
    try:
        network = str(ipaddress.ip_interface(text).network)
    except ValueError:
        return "such as '192.0.2.7' or '10.0.0.0/8'"
    return f"with zeros behind the prefix: did you mean {network!r}?"


def _wrong(name: str, value: object, what: str) -> ConfigurationError:
    return ConfigurationError(f"{name}= {what}; got {value!r}", subject=name, value=value)
