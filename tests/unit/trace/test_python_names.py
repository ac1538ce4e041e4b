"""Marks and claims are found under the names that the files of a project give to them."""

import textwrap

import pytest

from vespiary.prove.trace.python_names import project_names, words_of
from vespiary.prove.trace.scan_python import scan_python

TRY = """
try:
    from vespiary_trace import requires
except ImportError:
    def requires(*marked): return bool(marked[-1])
"""

MARKS = {
    "a star": {"p.py": "from vespiary_trace import *\nx = requires('a/1/1', c)"},
    "an import that may fail": {
        "compat.py": TRY,
        "p.py": "from compat import requires\nx = requires('a/1/1', c)",
    },
    "another file's name": {
        "compat.py": "from vespiary_trace import requires",
        "p.py": "from compat import requires as must\nx = must('a/1/1', c)",
    },
    "another file's module": {
        "lib/compat.py": "import vespiary_trace",
        "p.py": "from lib.compat import vespiary_trace as v\nx = v.requires('a/1/1', c)",
    },
    "a module of a package": {
        "src/lib/compat.py": TRY,
        "src/lib/p.py": "from . import compat\nx = compat.requires('a/1/1', c)",
    },
    "a star of a star": {
        "a.py": "from vespiary_trace import *",
        "b.py": "from a import *",
        "p.py": "import b\nx = b.requires('a/1/1', c)",
    },
    "an assignment": {
        "p.py": "import vespiary_trace\nmust = vespiary_trace.requires\nx = must('a/1/1', c)"
    },
    "an assignment in a branch": {
        "p.py": "import vespiary_trace as v\nif v:\n    must = v.requires\nx = must('a/1/1', c)"
    },
    "two assignments": {
        "p.py": "import vespiary_trace\nv = vespiary_trace\nmust = v.requires\nx = must('a/1/1', c)"
    },
}

CLAIMS = {
    "the part mark": {"p.py": "from pytest import mark as m\n@m.requirement('a/1/1')\ndef f(): 0"},
    "an assigned mark": {
        "p.py": "import pytest\nm = pytest.mark\n@m.requirement('a/1/1')\ndef f(): 0"
    },
    "the file of a package": {
        "tests/__init__.py": "import pytest\nreq = pytest.mark.requirement",
        "tests/p.py": "from tests import req\n@req('a/1/1')\ndef f(): 0",
    },
    "a name that goes through a file": {
        "tests/names.py": "import pytest\nreq = pytest.mark.requirement",
        "tests/__init__.py": "from .names import req",
        "tests/p.py": "from . import req\n@req('a/1/1')\ndef f(): 0",
    },
    "of two files of one name the nearest": {
        "a/names.py": "import pytest\nclaim = pytest.mark.requirement('a/1/1')",
        "b/names.py": "import pytest\nclaim = pytest.mark.requirement('b/1/1')",
        "a/p.py": "from names import claim\n@claim\ndef f(): 0",
    },
    "of two files of one name the one of the package": {
        "a/names.py": "import pytest\nclaim = pytest.mark.requirement('a/1/1')",
        "b/names.py": "import pytest\nclaim = pytest.mark.requirement('b/1/1')",
        "b/p.py": "from a.names import claim\n@claim\ndef f(): 0",
    },
    "of two files of one name the relative one": {
        "a/names.py": "import pytest\nclaim = pytest.mark.requirement('a/1/1')",
        "a/b/names.py": "import pytest\nclaim = pytest.mark.requirement('b/1/1')",
        "a/b/p.py": "from ..names import claim\n@claim\ndef f(): 0",
    },
}


def found(texts: dict[str, str]) -> list[tuple[str, tuple[str, ...]]]:
    named = project_names(texts)
    (file,) = (file for file in texts if file.endswith("p.py") and "compat" not in file)
    text = textwrap.dedent(texts[file])
    assert words_of(named).search(text)
    return [(mark.kind, mark.ids) for mark in scan_python(text, file, named.get(file)).marks]


@pytest.mark.parametrize("name", MARKS)
def test_a_mark_is_found_under_the_name_from(name: str) -> None:
    assert found(MARKS[name]) == [("mark", ("a/1/1",))]


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_is_found_under_the_name_from(name: str) -> None:
    assert found(CLAIMS[name]) == [("claim", ("a/1/1",))]


@pytest.mark.parametrize(
    "texts",
    [
        {"p.py": "from packaging import requires\nx = requires('a/1/1', c)"},
        {"a/names.py": TRY, "b/p.py": "from .names import requires\nx = requires('a/1/1', c)"},
        {"a/names.py": TRY, "p.py": "from b.names import requires\nx = requires('a/1/1', c)"},
    ],
)
def test_a_name_of_another_origin_is_not_a_mark(texts: dict[str, str]) -> None:
    assert found(texts) == []
