"""Counting: whatever the sockets, nothing is lost and the largest are kept apart."""

import socket
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from vespiary.prove.timewait.closers import Owner
from vespiary.prove.timewait.diag import Row, Sockets
from vespiary.prove.timewait.ports import SERVED, PortRange
from vespiary.prove.timewait.processes import Process
from vespiary.prove.timewait.tally import (
    OTHERS,
    Budget,
    Service,
    address,
    fold_owners,
    served_ports,
    tally,
)

NOBODY = Owner(None, "unknown")
LANES = PortRange().lanes([8080])


def row(port: int, remote: int = 1, state: int = 6, milliseconds: int = 30_000) -> Row:
    """An IPv4 socket of this port and a remote at 10.x.x.x, port 443."""
    name = (443).to_bytes(2) + bytes([192, 0, 2, 1]) + bytes(12)
    name += bytes([10]) + remote.to_bytes(3) + bytes(12)
    timer = 3 if state == 6 else 0
    return (socket.AF_INET, state, timer, socket.htons(port), name, milliseconds, 0)


ROWS = st.builds(
    row,
    st.sampled_from([8080, 40_000, 40_001, 50_000]),
    st.integers(0, 900),
    st.sampled_from([1, 6, 6, 6]),
    st.integers(0, 60_000),
)


@given(st.lists(ROWS, max_size=60))
def test_every_socket_is_in_one_cell(rows: list[Row]) -> None:
    sockets = Sockets.of(rows)
    cells = tally(sockets, LANES, [0] * len(rows)).cells
    assert sum(cell.sockets for cell in cells) == len(rows)
    assert sum(sum(cell.slots.values()) for cell in cells) == Counter(sockets.states)[6]
    for cell in cells:
        assert isinstance(cell.group, Service if cell.lane == SERVED else Budget)


def test_the_largest_groups_are_kept_apart_and_the_others_are_one() -> None:
    many = [row(8080, remote) for remote in range(2000)]
    large = [row(8080, 5000, milliseconds=500 * slot) for slot in range(40)]
    found = tally(Sockets.of(many + large), LANES, [0] * 2040)
    groups = {cell.group: cell.sockets for cell in found.cells}
    assert groups[Service(8080, "10.0.19.136")] == 40
    assert groups[Service(8080, OTHERS)] == 2000 - 499
    assert found.omitted == 2001 - 500
    (cell,) = (cell for cell in found.cells if cell.sockets == 40)
    assert cell.slots == dict.fromkeys(range(40), 1)


def test_processes_with_few_sockets_are_one_owner_by_their_name() -> None:
    owners = [NOBODY, *(Owner(Process(pid, "curl"), "tracepoint") for pid in range(1, 1001))]
    numbers = [0] * 5 + [1] * 50 + list(range(2, 1001))
    folded, processes = fold_owners(numbers, owners)
    counts = Counter(owners[number] for number in folded)
    assert counts[NOBODY] == 5
    assert counts[Owner(Process(1, "curl"), "tracepoint")] == 50
    rest = Owner(Process(0, "curl"), "tracepoint")
    assert counts[rest] == sum(processes.values()) > 700
    assert sum(counts.values()) == len(numbers)


def test_a_few_owners_stay_as_they_are() -> None:
    owners = [NOBODY, Owner(Process(1, "a"), "polling")]
    assert fold_owners([0, 1, 1], owners) == ([0, 1, 1], {})
    assert len(owners) == 2


def test_ports_are_those_of_the_state() -> None:
    sockets = Sockets.of([row(8080, state=10), row(443, state=6)])
    assert served_ports(sockets, 10) == {8080}


def test_an_ipv4_address_in_an_ipv6_socket_is_an_ipv4_address() -> None:
    mapped = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7])
    assert address(socket.AF_INET6, mapped) == "192.0.2.7"
    assert address(socket.AF_INET6, bytes(15) + b"\1") == "::1"
    assert address(socket.AF_INET, bytes([192, 0, 2, 7]) + bytes(12)) == "192.0.2.7"
