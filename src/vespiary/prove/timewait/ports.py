"""Which local ports the kernel gives to outgoing connections, and in which order.

`connect` without `bind` takes a port of `ip_local_port_range` that is free **for this source,
destination and destination port**. It first tries only the ports with the parity of the lowest one,
and `bind` to port 0 first tries the others (`__inet_hash_connect` and `inet_csk_get_port`), so that
each half serves one way of connecting. When a half is full, each call searches all of it before it
goes to the other one: the latency cliff. Ports of `ip_local_reserved_ports` are omitted.
"""

import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

__all__ = ["BIND", "CONNECT", "ELSEWHERE", "SERVED", "PortRange", "parse_numbers", "port_range"]

ELSEWHERE, CONNECT, BIND, SERVED = range(4)
"""What a local port is: a reserved one; in the half that `connect` takes first; in the other half;
a port on which somebody listens, or that lies outside of the range."""

_PORTS: Final = 1 << 16


def parse_numbers(text: str) -> frozenset[int]:
    """Read a list such as `8080,9000-9099`: the kernel's form for ports and for processors."""
    numbers: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


@dataclass(frozen=True)
class PortRange:
    """The ports that the kernel chooses from.

    Attributes:
        low: The lowest port.
        high: The highest one.
        reserved: Those that it omits, inside of the range and outside.
    """

    low: int = 32768
    high: int = 60999
    reserved: frozenset[int] = frozenset()

    @cached_property
    def connect_ports(self) -> int:
        """How many are in the half that `connect` takes first."""
        return self._by_port.count(CONNECT)

    @cached_property
    def bind_ports(self) -> int:
        """How many are in the other half."""
        return self._by_port.count(BIND)

    @property
    def ports(self) -> int:
        """How many there are."""
        return self.connect_ports + self.bind_ports

    def lanes(self, served: Iterable[int]) -> bytes:
        """What each port is, at the index that the port has when its two bytes are read natively.

        A port outside of the range was chosen by a program, and belongs to a service whether or not
        anybody listens on it just now.
        """
        lanes = bytearray(self._lanes)
        for port in served:
            lanes[socket.htons(port)] = SERVED
        return bytes(lanes)

    @cached_property
    def _by_port(self) -> bytes:
        """What each port is, at the index of its number."""
        lanes = bytearray([SERVED]) * _PORTS
        size = self.high - self.low + 1
        lanes[self.low : self.high + 1] = (bytes([CONNECT, BIND]) * size)[:size]
        for port in self.reserved:
            if self.low <= port <= self.high:
                lanes[port] = ELSEWHERE
        return bytes(lanes)

    @cached_property
    def _lanes(self) -> bytes:
        """The same at the index of the port's two bytes, read natively."""
        if sys.byteorder == "big":
            return self._by_port
        return b"".join(self._by_port[low_byte::256] for low_byte in range(256))


@lru_cache(maxsize=64)
def port_range(limits: str, reserved: str) -> PortRange:
    """Read the range from the texts of `ip_local_port_range` and `ip_local_reserved_ports`.

    Raises:
        ValueError: The texts are not of that form.
    """
    low, high = (int(word) for word in limits.split())
    return PortRange(low, high, parse_numbers(reserved))
