"""Gateways: they pass on what arrives at an endpoint to other servers, and return their answers.

They use the public interface of Vespiary only: its handlers, and `vespiary.connect`. For HTTP, h11
writes the requests and reads the responses of the servers behind: a head is parsed once more there,
which costs less than the two connections that it goes over, and a response that h11 does not accept
cannot reach a client.
"""

from vespiary.wasp.gateway.datagrams import DatagramGateway
from vespiary.wasp.gateway.proxy import Proxy, ProxyOptions
from vespiary.wasp.gateway.streams import StreamGateway
from vespiary.wasp.gateway.upstreams import Health, Policy, Upstream, Upstreams, UpstreamStatistics

__all__ = [
    "DatagramGateway",
    "Health",
    "Policy",
    "Proxy",
    "ProxyOptions",
    "StreamGateway",
    "Upstream",
    "UpstreamStatistics",
    "Upstreams",
]
