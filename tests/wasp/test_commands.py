"""`vespiary check` and `vespiary new`, and what the configuration's schema says."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import msgspec
import pytest

from tests.inner_pytest import OURS, environment, pytest_words
from vespiary.compression import Compression
from vespiary.framing import LengthPrefix
from vespiary.server_options import ServerOptions
from vespiary.wasp import schema
from vespiary.websocket import WebSocket
from vespiary.workers import Workers

CONFIGURATION = """\
workers = "${COUNT:-2}"
include = ["more.toml"]
[endpoints.a]
url = "tcp://127.0.0.1:0"
plugin = "plug.py:echo"
config.secret = "${file:secret.txt} $${x} ${folder}"
limits = { message_bytes_max = "64KiB", connections_max = "none" }
deadlines.idle_seconds = "2min"
framing = { width = 2 }
"""


def vespiary(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vespiary", *words],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_valid_configuration_is_summarised(folder: Path) -> None:
    (folder / "wasp.toml").write_text(CONFIGURATION)
    (folder / "more.toml").write_text(
        '[endpoints.b]\nplugin = "plug.py:Page"\nurl = "http://127.0.0.1:0/"\n'
    )
    (folder / "secret.txt").write_text("swordfish\n")
    done = vespiary("check", folder=folder)
    assert done.stderr == ""
    assert done.stdout == (
        "a: tcp://127.0.0.1:0 -> plug.py:echo\n"
        "b: http://127.0.0.1:0/ -> plug.py:Page\n"
        "wasp.toml is valid (2 files)\n"
    )
    done = vespiary("check", "wasp.toml", folder=folder, COUNT="several")
    assert done.returncode == 2
    assert "wasp.toml:1: workers: expected a whole number" in done.stderr


def test_substituted_values_reach_plugins_and_options(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vespiary.wasp import check

    monkeypatch.setenv("COUNT", "3")
    (folder / "wasp.toml").write_text(CONFIGURATION.replace('include = ["more.toml"]\n', ""))
    (folder / "secret.txt").write_text("swordfish\n")
    configuration = check(folder / "wasp.toml")
    assert configuration.workers == Workers(3)
    planned = configuration.endpoints["a"]
    assert planned.table.config == {"secret": f"swordfish ${{x}} {folder}"}
    assert planned.options["limits"].message_bytes_max == 64 << 10
    assert planned.options["limits"].connections_max is None
    assert planned.options["deadlines"].idle_seconds == 120
    assert planned.options["framing"] == LengthPrefix(width=2)


def test_the_schema_describes_every_key() -> None:
    made = json.loads(json.dumps(schema.json_schema()))
    definitions = made["$defs"]
    assert set(definitions["ConfigurationTable"]["properties"]) >= {"endpoints", "workers", "log"}
    limits = definitions["LimitsTable"]["properties"]
    assert limits["message_bytes_max"]["default"] == 1 << 20
    assert limits["frame_bytes_max"]["default"] == "none"
    plugin, host = definitions["EndpointTable"]["anyOf"]
    assert plugin == {"required": ["plugin"]}
    assert host["required"] == ["host"]
    assert "static" in host["properties"]["host"]["enum"]


def test_every_option_has_a_key_and_every_key_an_option() -> None:
    def keys(table: type[msgspec.Struct]) -> set[str]:
        return set(table.__struct_fields__)

    assert keys(schema.WebSocketTable) == {one.name for one in fields(WebSocket)}
    assert keys(schema.CompressionTable) == {one.name for one in fields(Compression)}
    assert keys(schema.LengthPrefixTable) == {one.name for one in fields(LengthPrefix)}
    assert keys(schema.WorkersTable) == {one.name for one in fields(Workers)}
    own = {"plugin", "url", "urls", "config", "socket", "host_name", "application"}
    own |= {"process", "wasm", "clr", "optional"}
    # `host` is another key here: the option of this name is `host_name`.
    assert keys(schema.EndpointTable) - own == set(ServerOptions.__annotations__) - {"sock", "fd"}


def test_check_prints_the_schema(tmp_path: Path) -> None:
    done = vespiary("check", "--schema", folder=tmp_path)
    assert json.loads(done.stdout) == schema.json_schema()


@pytest.mark.parametrize("name", ["chat", "Chat", "price_feed"])
def test_a_new_project_passes_its_own_tests_and_is_served(tmp_path: Path, name: str) -> None:
    made = vespiary("new", name, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    assert set(made.stdout.splitlines()) == {
        f"{name}/wasp.toml",
        f"{name}/{name}.py",
        f"{name}/test_{name}.py",
    }
    # The first as a user does, with the plugins of all packages.
    command = pytest_words(*OURS)
    variables = environment()
    if name == "chat":
        command, variables = pytest_words(), dict(os.environ)
    done = subprocess.run(
        command,
        cwd=tmp_path / name,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    checked = vespiary("check", folder=tmp_path / name)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("price-feed", "did you mean 'price_feed'?"),
        ("json", "is the name of a module that already exists"),
        ("class", "is not a valid Python identifier"),
    ],
)
def test_a_name_that_cannot_be_a_module_is_refused(tmp_path: Path, name: str, words: str) -> None:
    done = vespiary("new", name, folder=tmp_path)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())


def test_a_folder_that_exists_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "chat").mkdir()
    done = vespiary("new", "chat", folder=tmp_path)
    assert done.returncode == 2
    assert "chat exists already" in done.stderr
    assert list((tmp_path / "chat").iterdir()) == []
