"""Reading a request costs work in proportion to its size, however a handler reads it.

The work is counted, not timed: how often a name is brought into the form in which names are
compared, and how often something is parsed.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest

from vespiary import request as module
from vespiary.request import Headers, QueryParameters, Request

COUNT = 2_000
READS: dict[str, Callable[[Any], object]] = {
    "as a dictionary": dict,
    "every name": lambda mapping: [mapping[name] for name in mapping],
    "every value of every name": lambda mapping: [mapping.get_all(name) for name in mapping],
    "as items": lambda mapping: list(mapping.items()),
    "as values": lambda mapping: list(mapping.values()),
    "by membership": lambda mapping: [name in mapping for name, _ in mapping.lines],
    "by length and equality": lambda mapping: (len(mapping), mapping == dict(mapping)),
}


@pytest.mark.parametrize("kind", [Headers, QueryParameters])
@pytest.mark.parametrize("read", READS)
def test_reading_every_name_of_many_is_linear(
    kind: type[Headers | QueryParameters], read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Counter[str]()
    compared = kind._key

    def counted(name: str) -> str:
        calls["keys"] += 1
        return compared(name)

    monkeypatch.setattr(kind, "_key", staticmethod(counted))
    READS[read](kind((f"name-{number}", "value") for number in range(COUNT)))
    assert calls["keys"] <= 6 * COUNT


def asked(target: str, headers: list[tuple[str, str]]) -> Request:
    connection: Any = None
    return Request(connection, "GET", target, Headers(headers))


def test_a_query_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def counted(query: str, keep_blank_values: bool) -> list[tuple[str, str]]:
        parsed.append(query)
        return parse_qsl(query, keep_blank_values=keep_blank_values)

    monkeypatch.setattr(module, "parse_qsl", counted)
    request = asked("/?" + "&".join(f"a{number}={number}" for number in range(COUNT)), [])
    values = [request.query_parameters[name] for name in request.query_parameters]
    assert values == [str(number) for number in range(COUNT)]
    assert len(parsed) == 1


def test_cookies_are_parsed_once_and_cannot_be_changed() -> None:
    line = "; ".join(f"a{number}={number}" for number in range(COUNT))
    request = asked("/", [("Cookie", line)])
    values = [request.cookies[name] for name in request.cookies]
    assert values == [str(number) for number in range(COUNT)]
    assert request.cookies is request.cookies
    with pytest.raises(TypeError):
        request.cookies["a0"] = "x"  # type: ignore[index]


def test_what_was_parsed_does_not_tell_requests_apart() -> None:
    one, other = asked("/?a=1", [("Cookie", "b=2")]), asked("/?a=1", [("Cookie", "b=2")])
    assert one.query_parameters == {"a": "1"}
    assert one.cookies == {"b": "2"}
    assert one.query_parameters == other.query_parameters
    assert "_cookies" not in repr(one)
