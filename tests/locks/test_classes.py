"""Classes of locks: what distinguishes them, and how their inversions are reported."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locks.conftest import Result
from vespiary.prove.locks.classes import place_of
from vespiary.prove.locks.places import Frame

STDLIB = "/usr/lib/python3.13/"
OWN = "/srv/shop/"


def python(function: str, file: str, line: int) -> Frame:
    return Frame(function, "", file, line)


def queue_made_by(function: str, line: int) -> list[Frame]:
    """The stack of the lock inside a queue that somebody makes."""
    return [
        python("Queue.__init__", STDLIB + "queue.py", 38),
        python(function, OWN + "stages.py", line),
        python("main", OWN + "main.py", 7),
    ]


def test_the_library_s_own_places_tell_no_classes_and_who_called_them_does() -> None:
    assert place_of(queue_made_by("Stage.__init__", 12)) != place_of(queue_made_by("Log.open", 30))
    assert place_of(queue_made_by("Stage.__init__", 12)) == place_of(
        [*queue_made_by("Stage.__init__", 12), python("outer", OWN + "other.py", 1)]
    )
    # Two locks of one object are two classes.
    assert place_of(queue_made_by("Stage.__init__", 12)) != place_of(
        queue_made_by("Stage.__init__", 13)
    )


def test_a_function_that_only_makes_locks_is_skipped() -> None:
    def made_by(function: str) -> list[Frame]:
        return [Frame("shop_mutex_init", "shop", "lock.c", 4), Frame(function, "shop", "a.c", 9)]

    assert place_of(made_by("account_open")) != place_of(made_by("table_open"))


def test_the_line_that_called_the_maker_does_not_part_a_class() -> None:
    def opened_at(line: int) -> list[Frame]:
        return [Frame("account_open", "shop", "a.c", 9), Frame("main", "shop", "main.c", line)]

    assert place_of(opened_at(3)) == place_of(opened_at(4))


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [Frame("+0x12", "libstdc++.so.6"), Frame("__libc_start_main", "libc.so.6")],
        [python("_bootstrap", "<frozen importlib._bootstrap>", 2)],
    ],
)
def test_where_only_libraries_are_known_there_is_no_class(frames: list[Frame]) -> None:
    assert place_of(frames) is None


def test_code_that_is_installed_is_a_programs_own() -> None:
    site = python("Pool.__init__", "/usr/lib/python3.13/site-packages/pool.py", 5)
    assert place_of([python("RLock", STDLIB + "threading.py", 1), site]) is not None


def test_inversions_of_classes_are_information_and_with_classes_they_fail(
    compiled: Callable[..., Path], watched: Callable[..., Result], tmp_path: Path
) -> None:
    program, page = compiled("classes_two_orders"), tmp_path / "page.html"
    result = watched(program)
    assert result.status == 0
    (found,) = result.findings("information")
    assert found["by_class"]
    told = watched(program, options=["--classes", "--html", page])
    assert told.status == 120
    (inversion,) = told.findings("inversion")
    assert {lock["name"].rpartition(", ")[2] for lock in inversion["locks"]} == {"one of 2"}
    makers = {lock["made"][0]["function"] for lock in inversion["locks"]}
    assert makers == {"open_account", "open_table"}
    assert "if they were the same locks" in told.output
    assert "made like" in told.output
    assert 'class="arrow"' in page.read_text()


def test_an_inversion_between_locks_is_not_told_again_between_their_classes(
    compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    # Each mutex of the ring is made in the same line.
    result = watched(compiled("deadlock"), "3")
    assert [finding["kind"] for finding in result.report["findings"]] == ["deadlock"]
