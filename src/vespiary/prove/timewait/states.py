"""The states of a TCP socket as the kernel numbers them, and what each says about who closed.

TIME_WAIT falls on the end that closes first. That end goes through FIN_WAIT1 and FIN_WAIT2; the
other one goes through CLOSE_WAIT and LAST_ACK (RFC 9293 section 3.3.2).
"""

from typing import Final

__all__ = [
    "CLOSED_BY_PEER",
    "CLOSED_HERE",
    "ESTABLISHED",
    "FIN_WAIT1",
    "LISTEN",
    "NAMES",
    "NUMBERS",
    "TIME_WAIT",
    "counts_by_name",
    "present",
]

NAMES: Final = {
    1: "established",
    2: "syn_sent",
    3: "syn_recv",
    4: "fin_wait1",
    5: "fin_wait2",
    6: "time_wait",
    7: "close",
    8: "close_wait",
    9: "last_ack",
    10: "listen",
    11: "closing",
}
"""The numbers of `include/net/tcp_states.h`, and our names for them."""

NUMBERS: Final = {name: number for number, name in NAMES.items()}

ESTABLISHED, FIN_WAIT1, TIME_WAIT, LISTEN = 1, 4, 6, 10

CLOSED_HERE: Final = frozenset({4, 5, 6, 11})
"""FIN_WAIT1, FIN_WAIT2, TIME_WAIT and CLOSING: this end closed first."""

CLOSED_BY_PEER: Final = frozenset({8, 9})
"""CLOSE_WAIT and LAST_ACK: the peer closed first."""

_SYN_RECV, _NEW_SYN_RECV = 3, 12


def counts_by_name(counts: dict[int, int]) -> dict[str, int]:
    """Name each state, those without a socket included; a request socket is in SYN_RECV."""
    named = dict.fromkeys(NAMES.values(), 0)
    for number, count in counts.items():
        number = _SYN_RECV if number == _NEW_SYN_RECV else number
        named[NAMES.get(number, "close")] += count
    return named


def present(counts: dict[int, int]) -> dict[str, int]:
    """Name those states that have a socket."""
    return {name: count for name, count in counts_by_name(counts).items() if count}
