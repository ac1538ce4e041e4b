"""The documents' list of examples is the folder's."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def test_the_documents_list_every_example_and_no_other() -> None:
    listed = re.findall(r"^\| `(\w[\w.]*)` \|", (CHECKOUT / "docs/examples.md").read_text(), re.M)
    there = [
        path.name
        for path in (CHECKOUT / "examples").iterdir()
        if path.suffix == ".py" or (path / "__main__.py").exists()
    ]
    assert sorted(listed) == sorted(there)
