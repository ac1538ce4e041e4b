"""A test that expects a refused connection uses an address of its process' own.

What the kernel chooses on 127.0.0.1 may be another process' port a moment later, whose server
then accepts the connection. `tests/addresses.py` has the address to use instead.
"""

import ast
import re

import pytest

from tests.style.test_size import CHECKOUT, relative

FOLDERS = ("api", "sync", "wasp")

EXPECTS_REFUSAL = re.compile(r'ConnectionRefusedError|match="refused"|\bconnect_ex\(')
SHARED_ADDRESS = re.compile(r'\b(TCP|WS)\b|127\.0\.0\.1:0\b|"127\.0\.0\.1", 0\b')


def on_shared_addresses(source: str) -> list[str]:
    """The functions that expect a refusal on an address that other processes use too."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_source_segment(source, node) or ""
            if EXPECTS_REFUSAL.search(text) and SHARED_ADDRESS.search(text):
                found.append(node.name)
    return found


def test_refusals_are_expected_on_an_address_of_ones_own() -> None:
    paths = [path for folder in FOLDERS for path in (CHECKOUT / "tests" / folder).rglob("*.py")]
    found = {relative(path): on_shared_addresses(path.read_text()) for path in paths}
    found = {path: names for path, names in found.items() if names}
    assert not found, f"use OWN_HOST, OWN_TCP or OWN_WS in {found}"


@pytest.mark.parametrize(
    "line", ["server.add(Echo, TCP)", 'connect("ws://127.0.0.1:0")', 'bind(("127.0.0.1", 0))']
)
def test_a_shared_address_is_found(line: str) -> None:
    expects = "    with raises(ConnectionRefusedError):\n        pass\n"
    test = f"async def test_it():\n    {line}\n{expects}"
    assert on_shared_addresses(test) == ["test_it"]
    assert not on_shared_addresses(test.replace("ConnectionRefusedError", "TimeoutError"))
