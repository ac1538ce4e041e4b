"""`check_filter`: good filters pass, and each kind of bad one fails with what it did."""

from typing import Any

import pytest

import vespiary
from vespiary.testing import FilterFault, check_filter

Connection = vespiary.Connection[Any]


class Xor(vespiary.Filter):
    """A cipher without a state."""

    def received(self, connection: Connection, data: bytes) -> bytes:
        return bytes(byte ^ 0x55 for byte in data)

    def sending(self, connection: Connection, data: bytes) -> bytes:
        return self.received(connection, data)


class Stream(vespiary.Filter):
    """A cipher whose state is the position, one for each direction."""

    def __init__(self) -> None:
        self.came = 0
        self.went = 0

    def received(self, connection: Connection, data: bytes) -> bytes:
        first, self.came = self.came, self.came + len(data)
        return bytes(byte ^ (place & 255) for place, byte in enumerate(data, first))

    def sending(self, connection: Connection, data: bytes) -> bytes:
        first, self.went = self.went, self.went + len(data)
        return bytes(byte ^ (place & 255) for place, byte in enumerate(data, first))


@pytest.mark.parametrize("factory", [vespiary.Filter, Xor, Stream])
def test_a_good_filter_passes(factory: Any) -> None:
    check_filter(factory, peer=factory, seeds=3)


def test_a_filter_that_changes_bytes_passes_without_a_peer() -> None:
    class Upper(vespiary.Filter):
        def received(self, connection: Connection, data: bytes) -> bytes:
            return data.upper()

    check_filter(Upper, seeds=3)


def test_a_filter_whose_result_depends_on_the_cut_fails() -> None:
    class Reverse(vespiary.Filter):
        def received(self, connection: Connection, data: bytes) -> bytes:
            return data[::-1]

    with pytest.raises(FilterFault, match=r"bytes cut and delayed \(seed 0\)"):
        check_filter(Reverse)


def test_a_factory_that_shares_its_filter_fails() -> None:
    shared = Stream()
    with pytest.raises(FilterFault, match="a new filter for each connection"):
        check_filter(lambda: shared)


def test_state_that_is_shared_by_connections_fails() -> None:
    places = {"came": 0}

    class Shared(vespiary.Filter):
        def received(self, connection: Connection, data: bytes) -> bytes:
            first, places["came"] = places["came"], places["came"] + len(data)
            return bytes(byte ^ (place & 255) for place, byte in enumerate(data, first))

    with pytest.raises(FilterFault):
        check_filter(Shared)


def test_a_peer_that_does_not_undo_it_fails() -> None:
    with pytest.raises(FilterFault, match="arrived after the filters"):
        check_filter(Xor, peer=vespiary.Filter)


def test_an_exception_fails_with_its_traceback() -> None:
    class Broken(vespiary.Filter):
        def received(self, connection: Connection, data: bytes) -> bytes:
            return bytes([data[7]])

    with pytest.raises(FilterFault, match="IndexError"):
        check_filter(Broken)


def test_a_factory_that_makes_something_else_fails() -> None:
    with pytest.raises(FilterFault, match=r"must make a vespiary\.Filter"):
        check_filter(dict)  # type: ignore[arg-type]
