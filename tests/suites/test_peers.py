"""A sample of `python -m tests.suites peers`."""

import asyncio

import pytest

from .odd_requests import odd_requests
from .peers import OURS, PEERS, Listed, compare, cuts_that_matter, serving

REQUESTS = 600
CUT = slice(None, None, 12)
"""Of the odd requests, those that are cut at every place."""


@pytest.mark.timeout(300)
def test_requests_get_the_answers_that_uvicorn_and_granian_give_or_a_reason() -> None:
    listed = Listed()
    with serving(*OURS, *PEERS) as addresses:
        found = asyncio.run(compare(addresses, REQUESTS, odd_requests(), listed))
    assert listed.unexplained(found) == {}
    assert listed.stale(found) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", OURS)
def test_an_odd_request_has_one_outcome_wherever_it_is_cut(name: str) -> None:
    with serving(name) as addresses:
        assert asyncio.run(cuts_that_matter(addresses[name], odd_requests()[CUT])) == []


def test_every_listed_difference_has_a_reason() -> None:
    names = {one.name for one in odd_requests()}
    for group in Listed().groups:
        assert len(group["reason"]) > 20
        assert "aspects" in group or set(group["of"]) <= names, group["of"]
