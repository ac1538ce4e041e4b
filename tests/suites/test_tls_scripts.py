"""The list of tlsfuzzer's scripts, and how their output is read."""

from .tls_runs import _failures, scripts

_OUTPUT = """\
sanity ...
OK

empty x25519 key share ...
Traceback (most recent call last):
AssertionError: Expected alert "illegal_parameter"

====================
TOTAL: 3
PASS: 1
FAIL: 1
====================
FAILED:
\t'empty x25519 key share'
"""


def test_each_difference_belongs_to_a_script_and_has_a_reason() -> None:
    chosen = scripts()
    assert len(chosen) > 40
    assert all(reason for script in chosen for reason in script.differences.values())
    curves = next(it for it in chosen if it.name == "tls13_crfg_curves")
    assert "cannot be decoded" in (curves.reason("empty x25519 key share") or "")
    assert curves.reason("sanity") is None


def test_the_failed_conversations_are_read_with_what_was_unexpected() -> None:
    assert _failures(_OUTPUT) == {
        "empty x25519 key share": 'AssertionError: Expected alert "illegal_parameter"'
    }
