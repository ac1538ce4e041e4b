"""Programs whose tests fail without the mark, and may still not look at the right result."""

__all__ = ["RESULTS"]

RESULTS = {
    "asserts_only_that_there_is_a_result": ("any result", """
from vespiary.trace import implements

@implements(ID)
def squares(number):
    return map("wrong".index, range(number))

def test_it():
    assert squares(3) is not None
"""),
    "asserts_only_that_a_generator_gives_something": ("any result", """
from vespiary.trace import implements

@implements(ID)
def squares(number):
    yield from "wrong"

def test_it():
    assert list(squares(3))
"""),
    "asserts_that_there_is_an_answer_where_none_is_one": ("assertion", """
from vespiary.trace import implements

@implements(ID)
def fault(masked) -> str | None:
    return None if masked else "unmasked"

def test_it():
    assert fault(False) is not None
"""),
    "asserts_that_a_function_says_yes": ("assertion", """
from vespiary.trace import implements

@implements(ID)
def is_masked(frame):
    return True

def test_it():
    assert is_masked("")
"""),
    "asserts_on_a_result_that_is_cached": ("assertion", """
from vespiary.trace import implements

@functools.cache
@implements(ID)
def name():
    return "a"

def test_it():
    assert name() == "a"
"""),
    "shows_no_value_that_a_filter_keeps_back": ("unfiltered", """
def kept(values):
    return [x for x in values if requires(ID, x > 0) and requires(ID, x < 31)]

def test_it():
    assert kept([1]) == [1]
"""),
    "shows_only_what_one_of_two_filters_keeps_back": ("unfiltered", """
def kept(values):
    return [x for x in values if requires(ID, x > 0) and requires(ID, x < 31)]

def test_it():
    assert kept([1, 0]) == [1]
"""),
    "shows_what_both_filters_keep_back": ("assertion", """
def kept(values):
    return [x for x in values if requires(ID, x > 0) and requires(ID, x < 31)]

def test_it():
    assert kept([1, 0, 31]) == [1]
"""),
    "shows_only_what_passes_two_checks": ("unfiltered", """
def accepted(x):
    return requires(ID, x > 0) and requires(ID, x < 31)

def test_it():
    assert accepted(1)
"""),
}  # fmt: skip
"""By what their tests do: how the test fails, and the program, as in `fools`."""
