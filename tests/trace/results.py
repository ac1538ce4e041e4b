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
    "asserts_only_the_type_of_a_result": ("any of its type", """
from vespiary.trace import implements

@implements(ID)
def name():
    return "a"

def test_it():
    assert isinstance(name(), str)
"""),
    "asserts_only_the_very_type_of_an_annotated_result": ("any of its type", """
from vespiary.trace import implements

class Answer:
    def __init__(self):
        self.status = 200

@implements(ID)
async def answer() -> Answer:
    return Answer()

def test_it():
    assert type(asyncio.run(answer())) is Answer
"""),
    "asserts_only_that_a_result_is_not_empty": ("any of its type", """
from vespiary.trace import implements

@implements(ID)
def names() -> list[str]:
    return ["a", "b"]

def test_it():
    assert names()
"""),
    "asserts_only_that_a_result_is_a_yes_or_no": ("any of its type", """
from vespiary.trace import implements

@implements(ID)
def is_masked(frame):
    return True

def test_it():
    assert isinstance(is_masked(""), bool)
"""),
    "asserts_which_of_several_types_a_result_has": ("assertion", """
from vespiary.trace import implements

class Open: pass
class Closed: pass

@implements(ID)
def state(masked):
    return Closed() if masked else Open()

def test_it():
    assert isinstance(state(False), Open)
"""),
    "asserts_a_type_where_another_test_asserts_the_result": ("assertion", """
from vespiary.trace import implements

@implements(ID)
def name():
    return "a"

def test_it():
    assert isinstance(name(), str)

@pytest.mark.requirement(ID)
def test_that_asserts():
    time.sleep(0.05)
    assert name() == "a"
"""),
    "shows_only_what_a_choice_accepts": ("one result", """
def outcome(paid):
    return "shipped" if requires(ID, paid) else "refused"

def test_it():
    assert outcome(True) == "shipped"
"""),
    "shows_only_what_two_returns_accept": ("one result", """
def outcome(paid):
    if requires(ID, paid):
        return "shipped"
    return "refused"

def test_it():
    assert outcome(True) == "shipped"
"""),
    "shows_only_what_two_assignments_accept": ("one result", """
def outcome(paid):
    is_paid = requires(ID, paid)
    if is_paid:
        result = "shipped"
    else:
        result = "refused"
    return result

def test_it():
    assert outcome(True) == "shipped"
"""),
    "shows_only_what_is_picked": ("one result", """
def outcome(paid):
    return ("refused", "shipped")[requires(ID, paid)]

def test_it():
    assert outcome(True) == "shipped"
"""),
    "shows_only_what_a_guard_accepts": ("one result", """
def outcome(paid):
    match paid:
        case _ if requires(ID, paid > 0):
            return "shipped"
        case _:
            return "refused"

def test_it():
    assert outcome(1) == "shipped"
"""),
    "does_not_look_at_the_other_result_of_a_choice": ("one result", """
def outcome(paid):
    return "shipped" if requires(ID, paid) else "refused"

@pytest.mark.parametrize("paid", [True, False])
def test_it(paid):
    assert outcome(paid) == "shipped" or not paid
"""),
    "shows_only_what_does_not_raise": ("unfiltered", """
def outcome(paid):
    if requires(ID, paid):
        return "shipped"
    raise ValueError("refused")

def test_it():
    assert outcome(True) == "shipped"
"""),
    "shows_only_that_there_is_no_fault": ("one result", """
def fault(paid):
    return None if requires(ID, paid) else "refused"

def test_it():
    assert fault(True) is None
"""),
    "does_not_look_at_what_a_filter_keeps_back": ("unfiltered", """
def kept(values):
    return [x for x in values if requires(ID, x > 0)]

def test_it():
    assert 1 in kept([1, 0])
"""),
    "shows_what_does_not_raise_and_what_does": ("exception", """
def outcome(paid):
    if requires(ID, paid):
        return "shipped"
    raise ValueError("refused")

def test_it():
    assert outcome(1) == "shipped"
    with pytest.raises(ValueError):
        outcome(0)
"""),
    "shows_both_results_of_a_choice": ("assertion", """
def outcome(paid):
    return "shipped" if requires(ID, paid) else "refused"

def test_it():
    assert outcome(True) == "shipped"

@pytest.mark.requirement(ID)
def test_the_other():
    assert outcome(False) == "refused"
"""),
    "shows_both_results_of_a_choice_that_is_cached": ("assertion", """
@functools.lru_cache
def outcome(paid):
    return "shipped" if requires(ID, paid) else "refused"

def test_it():
    assert (outcome(True), outcome(False)) == ("shipped", "refused")
"""),
    "shows_only_the_refusal_of_something": ("assertion", """
def fault(kilograms):
    if requires(ID, kilograms > 31):
        return "too heavy"
    return None

def test_it():
    assert fault(40) == "too heavy"
"""),
}  # fmt: skip
"""By what their tests do: how the test fails, and the program, as in `fools`."""
