"""Texts with numbers of things are right for one thing, and leave out what there is none of."""

import ast
import re
from pathlib import Path

import pytest

from vespiary._counted import counted

ROOT = Path(__file__).parents[2] / "src" / "vespiary"
PLURALS = re.compile(
    r" (?:more |other )?(connections|tasks|messages|servers|threads|locks|processes|orders"
    r"|requirements|tests|marks|claims|sources|errors|items|attempts|classes|acquisitions|calls"
    r"|endpoints|handlers|places|files|findings)\b"
)

ALLOWED = {
    ("_signals.py", "servers"): "said of more than one",
    ("prove/load/table.py", "messages"): "'All', said of more than one",
    ("prove/locks/attach.py", "threads"): "a circle of more than one",
    ("prove/locks/analysis.py", "locks"): "a circle has two at least",
    ("prove/locks/analysis.py", "places"): "a circle has two at least",
    ("prove/locks/gaps.py", "processes"): "said of more than one",
    ("prove/trace/extract.py", "places"): "said of more than one",
    ("prove/trace/page.py", "tests"): "said of more than one",
    ("prove/trace/proving/record.py", "claims"): "not a count",
}


def plurals_of(text: str) -> set[str]:
    """The nouns that stand in the plural behind a value, whatever that is."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            for value, after in zip(node.values, node.values[1:], strict=False):
                if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
                    match = PLURALS.match(str(after.value))
                    if match:
                        found.add(match[1])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {match[1] for match in re.finditer(f"%d{PLURALS.pattern}", node.value)}
    return found


def test_every_count_is_right_for_one() -> None:
    found = {
        (str(path.relative_to(ROOT)), noun)
        for path in sorted(ROOT.rglob("*.py"))
        for noun in plurals_of(path.read_text())
    }
    assert found - set(ALLOWED) == set(), "use vespiary._counted"
    assert set(ALLOWED) - found == set()


def test_a_count_in_the_plural_is_found() -> None:
    assert plurals_of('f"{len(x)} tasks, {y:,} more locks and {z} names nothing"') == {
        "tasks",
        "locks",
    }
    assert plurals_of('log("%d tasks are left", 5)') == {"tasks"}


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks"), (1000, "1,000 tasks")]
)
def test_a_count_has_its_noun(count: int, text: str) -> None:
    assert counted(count, "task") == text
    assert counted(count, "task is", "tasks are").startswith(text)
