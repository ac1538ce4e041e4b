"""Which proxies say for whom they connect: the option `proxy_protocol_from` of an endpoint."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError

__all__ = ["proxy_networks"]

_UNIX = "unix"


def proxy_networks(endpoint: Endpoint, given: object) -> list[str]:
    """Return the networks as the engine takes them: an address, a slash, and a number of bits.

    Raises:
        ConfigurationError: one is not a network, or cannot be where the endpoint is.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        raise _wrong(given, "takes a list of addresses and networks, such as ['10.0.0.0/8']")
    return [_network(endpoint, text) for text in given]


def _network(endpoint: Endpoint, text: object) -> str:
    if not isinstance(text, str):
        raise _wrong(text, "takes addresses and networks as text")
    if text == _UNIX:
        if not endpoint.is_unix:
            raise _wrong(text, f"has 'unix' for Unix sockets, and {endpoint} is not one")
        return text
    if endpoint.is_unix:
        raise _wrong(text, f"takes 'unix' on {endpoint}: peers of a Unix socket have no IP address")
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise _wrong(text, f"takes IP addresses and networks, {_advice(text)}") from None
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.scope_id is not None:
        raise _wrong(text, "takes networks without a zone")
    return str(network)


def _advice(text: str) -> str:
    try:
        network = str(ipaddress.ip_interface(text).network)
    except ValueError:
        return "such as '192.0.2.7' or '10.0.0.0/8'"
    return f"with zeros behind the prefix: did you mean {network!r}?"


def _wrong(value: object, what: str) -> ConfigurationError:
    text = f"proxy_protocol_from= {what}; got {value!r}"
    return ConfigurationError(text, subject="proxy_protocol_from", value=value)
