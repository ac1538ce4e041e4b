"""The same cases at two peers: what they do otherwise is kept, and shows what the cases tell."""

from importlib.metadata import version

import pytest

from tests.conformance.handshake.peers import recorded
from tests.conformance.handshake.servers import PEERS
from tests.conformance.handshake.suite import CASES, peer_failures


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_does_in_each_case_what_is_recorded(peer: str) -> None:
    kept = recorded()[peer]
    assert kept["version"] == version(peer), "record it again, or install what is pinned"
    assert kept["cases"] == len(CASES)
    assert peer_failures(peer) == kept["failures"]


def test_the_cases_discriminate() -> None:
    table = recorded()
    failed = {peer: set(table[peer]["failures"]) for peer in PEERS}
    for peer in PEERS:
        assert 10 <= len(failed[peer]) < len(CASES) * 0.6
        assert failed[peer] <= set(CASES)
    one, other = (failed[peer] for peer in PEERS)
    assert one - other
    assert other - one
