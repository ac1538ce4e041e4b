"""Programs that might fool a tracer, each with the verdict that is right.

In a program ID is the identifier of its own requirement, OTHER that of another. What stands in
`CODE` comes first, unless the program has a `refused` of its own.
"""

from dataclasses import dataclass

from .results import RESULTS

__all__ = ["CODE", "FOOLS", "Fool"]

CODE = """
def refused(masked: bool) -> bool:
    return requires(ID, not masked)
"""


@dataclass(frozen=True)
class Fool:
    """A program, and what should be said of the mark with its identifier.

    Attributes:
        verdict: On the mark.
        program: Python, below the usual imports.
        how: How the test fails without the mark, if it does.
        unstable: Whether its test is reported as failing now and then.
    """

    verdict: str
    program: str
    how: str = ""
    unstable: bool = False


SURVIVED = {
    "asserts_nothing": """
def test_it():
    refused(False)
""",
    "asserts_something_else": """
def test_it():
    assert refused(False) in (True, False)
""",
    "compares_without_an_assert": """
def test_it():
    refused(False) == True
""",
    "asserts_a_tuple": """
def test_it():
    assert (refused(False), "refused")
""",
    "returns_early": """
def test_it():
    if not refused(False):
        return
    assert refused(False)
""",
    "swallows_the_failure": """
def test_it():
    try:
        assert refused(False)
    except AssertionError:
        pass
""",
    "asserts_in_a_thread": """
def check():
    assert refused(False)

@pytest.mark.filterwarnings("ignore")
def test_it():
    thread = threading.Thread(target=check)
    thread.start()
    thread.join()
""",
    "ignores_the_status_of_a_process": """
def test_it():
    code = "0" if refused(False) else "1"
    subprocess.run([sys.executable, "-c", f"raise SystemExit({code})"], check=False)
""",
    "skips_itself_without_the_mark": """
def test_it():
    if not refused(False):
        pytest.skip("not today")
""",
    "expects_any_exception": """
def refused(masked):
    requires(ID)
    raise ValueError(masked)

def test_it():
    with pytest.raises(Exception):
        refused(False)
""",
    "warns_instead_of_failing": """
def test_it():
    if not refused(False):
        warnings.warn("not refused")
""",
    "accepts_every_outcome": """
@pytest.mark.parametrize("outcome", [True, False])
def test_it(outcome):
    assert refused(False) is outcome or True
""",
    "uses_a_condition_that_looks_like_an_identifier": """
def described(kind):
    if requires(ID, kind):
        pass
    return "page"

def test_it():
    assert described(None) == described("text/html") == "page"
""",
    "checks_one_of_two_marks_in_a_line": """
def refused(text):
    return [requires(ID, not text), requires(ID, len(text) < 2)]

def test_it():
    assert refused("")[0]
""",
}
"""The mark acts, and nothing notices that it does not."""

UNREACHED = {
    "never_awaits_its_coroutine": """
async def check():
    assert refused(False)

@pytest.mark.filterwarnings("ignore")
def test_it():
    check()
""",
    "never_consumes_its_generator": """
def test_it():
    (refused(False) for _ in range(3))
""",
    "never_consumes_a_marked_generator": """
from vespiary.trace import implements

@implements(ID)
def squares(number):
    yield from "wrong"

def test_it():
    assert squares(3) is not None
""",
    "never_consumes_a_marked_asynchronous_generator": """
from vespiary.trace import implements

@implements(ID)
async def squares(number):
    yield "wrong"

def test_it():
    assert squares(3) is not None
""",
    "never_calls_its_check": """
def test_it():
    def check():
        assert refused(False)
""",
    "replaces_what_it_tests": """
def test_it(monkeypatch):
    monkeypatch.setitem(globals(), "refused", lambda masked: not masked)
    assert refused(False)
""",
    "tests_a_copy": """
def a_copy(masked):
    return not masked

def test_it():
    assert a_copy(False)
""",
    "marks_dead_code": """
def refused(masked):
    return not masked
    return requires(ID, not masked)

def test_it():
    assert refused(False)
""",
    "never_makes_the_condition_true": """
def test_it():
    assert not refused(True)
""",
    "is_skipped": """
@pytest.mark.skip(reason="flaky")
def test_it():
    assert refused(False)
""",
    "expects_to_fail_and_passes": """
@pytest.mark.xfail
def test_it():
    assert refused(False)
""",
    "expects_to_fail_and_fails": """
@pytest.mark.xfail
def test_it():
    assert not refused(False)
""",
    "is_parametrized_away": """
@pytest.mark.parametrize("masked", [])
def test_it(masked):
    assert refused(masked)
""",
    "fails_with_the_mark_too": """
def test_it():
    assert not refused(False)
""",
    "reaches_one_of_two_marks_in_a_line": """
def refused(text):
    return requires(ID, not text) or requires(ID, len(text) > 9)

def test_it():
    assert refused("")
    assert not refused("a")
""",
    "makes_one_of_two_functions_in_a_line_act": """
CHECKS = {"light": lambda x: requires(ID, x < 1), "heavy": lambda x: requires(ID, x > 9)}

def test_it():
    assert CHECKS["light"](0)
""",
}
"""No test that passes makes the mark act."""

KILLED = {
    "tells_by_an_assertion": ("assertion", """
def test_it():
    assert refused(False)
"""),
    "tells_by_pytest_fail": ("assertion", """
def test_it():
    if not refused(False):
        pytest.fail("not refused")
"""),
    "tells_by_another_exception": ("exception", """
def test_it():
    {True: "fine"}[refused(False)]
"""),
    "tells_when_it_is_torn_down": ("assertion", """
@pytest.fixture
def result():
    results = []
    yield results
    assert results == [True]

def test_it(result):
    result.append(refused(False))
"""),
    "tells_with_one_of_its_parameters": ("assertion", """
@pytest.mark.parametrize("masked", [True, False])
def test_it(masked):
    assert refused(masked) or masked
"""),
    "ends_its_process": ("crash", """
def test_it():
    if not refused(False):
        os._exit(3)
"""),
    "kills_its_process": ("crash", """
def test_it():
    if not refused(False):
        os.kill(os.getpid(), signal.SIGKILL)
"""),
    "loops_for_ever": ("timeout", """
def test_it():
    while not refused(False):
        time.sleep(0.01)
"""),
    "crashes_where_another_test_asserts": ("assertion", """
def test_it():
    if not refused(False):
        os._exit(3)

@pytest.mark.requirement(ID)
def test_that_says_what_is_wrong():
    time.sleep(0.05)
    assert refused(False)
"""),
    "depends_on_the_order_of_tests": ("assertion", """
done = []

def test_it():
    done.append(refused(False))
    assert done == [True]
"""),
    "spoils_its_process": ("assertion", """
broken = []

def test_it():
    if not refused(False):
        broken.append(True)
    assert not broken
"""),
    "reads_a_cached_result": ("assertion", """
@functools.lru_cache
def refused(masked):
    return requires(ID, not masked)

def test_it():
    assert refused(False)
"""),
    "reads_what_another_test_has_cached": ("assertion", """
@functools.lru_cache
def refused(masked):
    return requires(ID, not masked)

@pytest.mark.requirement(OTHER)
def test_a_that_comes_first():
    assert requires(OTHER, refused(False))

def test_it():
    assert refused(False)
"""),
    "was_computed_at_import": ("assertion", """
LIMIT = 5 if requires(ID, len(sys.path) > 0) else 0

def test_it():
    assert LIMIT == 5
"""),
    "cannot_be_imported_without_the_mark": ("collection", """
requires(ID)

def test_it():
    assert pytest
"""),
    "uses_a_name_that_is_not_there_without_the_mark": ("broken", """
def heavy(kilograms):
    if requires(ID, isinstance(kilograms, int)):
        limit = 31
    return kilograms > limit

def test_it():
    heavy(40)
"""),
    "uses_the_result_of_a_function": ("broken", """
from vespiary.trace import implements

@implements(ID)
def name():
    return "a"

def test_it():
    name().strip()
"""),
    "asserts_on_the_result_of_a_function_later": ("assertion", """
from vespiary.trace import implements

@implements(ID)
def name():
    return "a"

def test_it():
    name().strip()

@pytest.mark.requirement(ID)
def test_that_asserts():
    time.sleep(0.05)
    assert name() == "a"
"""),
    "shares_a_file_with_another_test": ("assertion", """
FILE = Path(__file__).with_name("shared")

def alone():
    os.close(os.open(FILE, os.O_CREAT | os.O_EXCL))
    time.sleep(0.05)
    result = refused(False)
    FILE.unlink()
    return result

def test_it():
    assert alone()

@pytest.mark.requirement(ID)
def test_that_cannot_run_beside_it():
    assert alone()
"""),
    "is_guarded_twice_for_the_same_requirement": ("assertion", """
def refused(text):
    empty = requires(ID, not text)
    short = requires(ID, len(text) < 2)
    return empty or short

def test_it():
    assert refused("")
"""),
    "is_guarded_three_times": ("assertion", """
def refused(text):
    if requires(ID, not text):
        return True
    if requires(ID, len(text) < 2):
        return True
    return requires(ID, text.isspace() or not text)

def test_it():
    assert refused("")
"""),
    "has_a_condition_that_is_always_true": ("assertion", """
def refused(masked):
    return requires(ID, len(sys.argv) >= 0)

def test_it():
    assert refused(False)
"""),
}  # fmt: skip
"""A test fails without the mark, and because of that."""

MASKED = {
    "is_refused_for_another_reason_too": """
def refused(text):
    return requires(ID, not text) or requires(OTHER, len(text) < 2)

def test_it():
    assert refused("")

@pytest.mark.requirement(OTHER)
def test_the_other():
    assert refused("a")
""",
    "hides_what_comes_after_it": """
def refused(text):
    if requires(OTHER, len(text) < 2):
        return True
    if requires(ID, not text):
        return True
    return False

def test_it():
    assert refused("")

@pytest.mark.requirement(OTHER)
def test_the_other():
    assert refused("a")
""",
}
"""The test fails only if the mark of another requirement is disabled, too."""

FLAKY = {
    "fails_every_second_time": """
def test_it():
    refused(False)
    assert count(__file__) % 2 == 0
""",
    "fails_every_third_time": """
def test_it():
    refused(False)
    assert count(__file__) % 3 != 1
""",
    "fails_every_third_time_slowly": """
def test_it():
    time.sleep(0.4)
    refused(False)
    assert count(__file__) % 3 != 1
""",
    "fails_at_random": """
def test_it():
    number = hashlib.sha256(b"%d" % count(__file__)).digest()[0]
    refused(False)
    assert number % 2 == 1
""",
    "passes_only_once": """
def test_it():
    refused(False)
    assert count(__file__) == 0
""",
}
"""What they do has nothing to do with the mark."""

FOOLS = {
    **{name: Fool("survived", program) for name, program in SURVIVED.items()},
    **{name: Fool("unreached", program) for name, program in UNREACHED.items()},
    **{
        name: Fool("killed", program, how) for name, (how, program) in {**KILLED, **RESULTS}.items()
    },
    **{name: Fool("masked", program, "assertion") for name, program in MASKED.items()},
    **{name: Fool("survived", program, unstable=True) for name, program in FLAKY.items()},
}
"""All of them, by what their tests do."""
