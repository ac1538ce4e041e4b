"""Another result of a function's own type, by its annotation or by its last result."""

import enum
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import pytest

from vespiary_trace.another import Replaced, Results


@dataclass
class Answer:
    status: int


class Level(enum.StrEnum):
    LOW = "low"


class Place(NamedTuple):
    line: int
    column: int


class Words(list[str]):
    """A list of its own."""


class Counts(TypedDict):
    a: int


def unannotated(): ...  # type: ignore[no-untyped-def]
def text() -> str: ...  # type: ignore[empty-body]
def numbers() -> list[int]: ...  # type: ignore[empty-body]
def answer() -> Answer: ...  # type: ignore[empty-body]
def either() -> Answer | str: ...  # type: ignore[empty-body]
def several() -> Sequence[int]: ...  # type: ignore[empty-body]
def anything() -> Any: ...
def unknown() -> "Missing": ...  # type: ignore[name-defined]  # noqa: F821
def nothing() -> None: ...
def level() -> Level: ...  # type: ignore[empty-body]
def place() -> Place: ...  # type: ignore[empty-body]
def words() -> Words: ...  # type: ignore[empty-body]
def counts() -> Counts: ...  # type: ignore[empty-body]
def found() -> defaultdict[str, int]: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("function", "last", "kind"),
    [
        (text, None, str),
        (text, "a", str),
        (numbers, None, list),
        (answer, None, Answer),
        (answer, Answer(200), Answer),
        (unannotated, "a", str),
        (unannotated, {"a": 1}, dict),
        (unannotated, 3, int),
        (anything, b"a", bytes),
        (unknown, 2.5, float),
        (unannotated, None, Replaced),
        (unannotated, Answer(200), Replaced),
        (either, "a", Replaced),
        (several, [1], Replaced),
        (several, None, Replaced),
        (nothing, None, Replaced),
        (level, Level.LOW, Level),
        (place, Place(1, 2), Place),
        (place, None, Place),
        (words, Words(["a"]), Words),
        (counts, {"a": 1}, dict),
        (found, None, defaultdict),
    ],
)
def test_another_result_has_the_only_type_that_a_function_gives(
    function: Callable[[], object], last: object, kind: type
) -> None:
    results = Results(function)
    if last is not None:
        assert results.keep(last) is last
    other = results.another()
    assert type(other) is kind
    assert other is not last


@pytest.mark.parametrize("last", [True, False])
def test_another_answer_is_the_other_one(*, last: bool) -> None:
    results = Results(unannotated)
    results.keep(last)
    assert results.another() is not last
    assert isinstance(results.another(), bool)


def test_another_list_is_not_empty() -> None:
    assert Results(numbers).another()
