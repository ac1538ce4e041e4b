"""That the examples' locks are looked at is a check that can fail."""

import tomllib
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.acceptance.conftest import EXAMPLES, Start

WITHOUT_SERVER = {"suite.toml", "suites", "traced_project"}
BY_PLATFORM = {"wasp": "test_demonstration.py", "cluster": "test_cluster_example.py"}
"""Configurations of `vespiary run`, and their tests in tests/wasp."""

INVERTED = """
import threading

one, other = threading.Lock(), threading.Lock()
go_on = threading.Event()

def in_the_background():
    with other, one:
        pass
    go_on.wait()

threading.Thread(target=in_the_background, daemon=True).start()

def send(connection, message):
    with one, other:
        connection.send(message)

"""


def test_every_example_is_started_by_an_acceptance_test() -> None:
    names = {path.name for path in EXAMPLES.iterdir() if not path.name.startswith(("_", "."))}
    others = set(Path(__file__).parent.glob("test_*.py")) - {Path(__file__)}
    tests = [path.read_text() for path in others]
    names -= BY_PLATFORM.keys()
    missing = {name for name in names if not any(f'"{name}"' in text for text in tests)}
    assert missing == WITHOUT_SERVER


def test_the_configurations_among_the_examples_have_their_tests_and_cases() -> None:
    suite = tomllib.loads((EXAMPLES / "suite.toml").read_text())
    servers = [case.get("server", {}).get("command") for case in suite["cases"].values()]
    for name, test in BY_PLATFORM.items():
        assert (Path(__file__).parents[1] / "wasp" / test).exists()
        assert ["{vespiary}", "run", f"{name}/wasp.toml"] in servers


def test_an_inversion_in_an_examples_handler_is_found(start: Start, tmp_path: Path) -> None:
    text = (EXAMPLES / "echo_callback.py").read_text()
    inverted = tmp_path / "echo_inverted.py"
    changed = text.replace("connection.send(message)", "send(connection, message)")
    assert changed != text
    inverted.write_text(changed.replace("import vespiary\n", f"import vespiary\n{INVERTED}", 1))
    example = start(str(inverted), "ws://127.0.0.1:0/")
    with connect(example.url) as client:
        client.send("hello")
        assert client.recv(timeout=60) == "hello"
    with pytest.raises(AssertionError, match="INVERSION"):
        example.stop()
