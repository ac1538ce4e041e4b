"""The host `wasm`: plug-ins in WebAssembly, with limits on time and memory."""

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from tests.waiting import wait_until
from tests.wasp.conftest import Lines, Run
from vespiary.wasp import FileError, check

wasmtime = pytest.importorskip("wasmtime", reason="wasmtime is not installed")

SHOUT = Path(__file__).resolve().parents[2] / "examples" / "wasp" / "shout.wat"

PLUGIN = """
(module
  (import "vespiary" "send" (func $send (param i32 i32 i32)))
  (import "vespiary" "close" (func $close (param i32)))
  (import "vespiary" "log" (func $log (param i32 i32)))
  (memory (export "memory") 1)
  (table 1 funcref)
  (data (i32.const 0) "the first letter is the command")
  (global $config (mut i32) (i32.const 0))
  (global $count (mut i32) (i32.const 48))
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "on_config") (param i32 i32)
    (memory.copy (i32.const 512) (local.get 0) (local.get 1))
    (global.set $config (local.get 1)))
  (func (export "on_open") (call $log (i32.const 4) (i32.const 12)))
  (func (export "on_close") (param $code i32) (call $log (i32.const 20) (i32.const 11)))
  (func $deep (result i32) (i32.add (i32.const 1) (call $deep)))
  (func (export "on_message") (param $at i32) (param $size i32) (param $is_text i32)
    (local $command i32)
    (local.set $command (i32.load8_u (local.get $at)))
    (if (i32.eq (local.get $command) (i32.const 108)) ;; l: loops
      (then (loop $forever (br $forever))))
    (if (i32.eq (local.get $command) (i32.const 103)) ;; g: grows until that fails, then traps
      (then (block $full (loop $more
        (br_if $full (i32.eq (memory.grow (i32.const 16)) (i32.const -1)))
        (br $more)) ) (unreachable)))
    (if (i32.eq (local.get $command) (i32.const 115)) ;; s: overflows the stack
      (then (drop (call $deep))))
    (if (i32.eq (local.get $command) (i32.const 114)) ;; r: reads outside of its memory
      (then (call $send (i32.const 65530) (i32.const 100) (i32.const 1))))
    (if (i32.eq (local.get $command) (i32.const 119)) ;; w: writes to the log for ever
      (then (loop $forever (call $log (i32.const 4) (i32.const 12)) (br $forever))))
    (if (i32.eq (local.get $command) (i32.const 102)) ;; f: sends for ever
      (then (loop $forever
        (call $send (i32.const 4) (i32.const 1) (i32.const 1)) (br $forever))))
    (if (i32.eq (local.get $command) (i32.const 116)) ;; t: grows its table until that fails
      (then (block $full (loop $more
        (br_if $full (i32.eq (table.grow (ref.null func) (i32.const 1000)) (i32.const -1)))
        (br $more)) ) (unreachable)))
    (if (i32.eq (local.get $command) (i32.const 99)) ;; c: closes
      (then (call $close (i32.const 4001)) (return)))
    (if (i32.eq (local.get $command) (i32.const 63)) ;; ?: sends its configuration
      (then (call $send (i32.const 512) (global.get $config) (i32.const 1)) (return)))
    ;; anything else: counts, and sends the message with the count as its first letter
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.store8 (local.get $at) (global.get $count))
    (call $send (local.get $at) (local.get $size) (local.get $is_text))))
"""
TEXT = """\
[admin]
url = "http://127.0.0.1:0/"

[endpoints.web]
url = "ws://127.0.0.1:0/"
plugin = "plugin.wat"
host = "wasm"
wasm = { fuel_per_call = 1_000_000, memory_bytes_max = "1MiB" }
config = { greeting = "hello" }

[endpoints.lines]
url = "tcp://127.0.0.1:0"
plugin = "shout.wat"
host = "wasm"
framing = "line"
"""
FAULTS = {
    "loop": "it has used its fuel, fuel_per_call = 1000000",
    "grow": "plugin.wat was stopped in on_message",
    "stack": "call stack exhausted",
    "read": "outside of its memory",
    "write": "it has used its fuel, fuel_per_call = 1000000",
    "flood": "it has used its fuel, fuel_per_call = 1000000",
    "table": "unreachable",
}


@pytest.fixture(autouse=True)
def _plugins(folder: Path) -> None:
    (folder / "plugin.wat").write_text(PLUGIN)
    shutil.copy(SHOUT, folder)


def _next_that_is_not(client: ClientConnection, text: str) -> str | bytes:
    while (message := client.recv(timeout=60)) == text:
        pass
    return message


@pytest.mark.parametrize("workers", ["", "workers = 1\n"])
def test_faults_end_their_connection_and_others_are_served(run: Run, workers: str) -> None:
    server = run(workers + TEXT)
    server.wait_for("Serving ", 3)
    admin, url = server.urls[2], server.urls[0]
    with connect(url) as other:
        other.send("xa")
        assert other.recv() == "1a"
        for fault, report in FAULTS.items():
            with connect(url) as client:
                client.send(fault)
                with pytest.raises(ConnectionClosedError) as ended:
                    _next_that_is_not(client, "f")
                assert ended.value.rcvd is not None
                assert ended.value.rcvd.code == 1011
            server.wait_for(report)
        other.send(b"xb")
        assert other.recv() == b"2b"
    with urllib.request.urlopen(f"{admin}status", timeout=60) as answer:
        assert json.load(answer)["endpoints"]["web"]["handler_errors"] == len(FAULTS)
    assert server.stop() == 0


def test_a_plug_in_gets_its_configuration_and_closes_and_logs(run: Run) -> None:
    server = run(TEXT)
    url = server.serves(3)[0]
    with connect(url) as client:
        client.send("?")
        assert json.loads(client.recv()) == {"greeting": "hello"}
        client.send("close")
        with pytest.raises(ConnectionClosedError) as ended:
            client.recv(timeout=60)
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 4001
    server.wait_for("plugin.wat: first letter")
    server.wait_for("plugin.wat: the command")


def test_a_reload_swaps_the_module(run: Run, folder: Path, lines: Callable[[str], Lines]) -> None:
    server = run(TEXT)
    url = server.serves(3)[1]
    assert lines(url).ask("hello" * 20_000) == "HELLO" * 20_000
    path = folder / "shout.wat"
    path.write_text(path.read_text().replace("(call $send", "(unreachable) (call $send"))
    server.reload()

    def is_swapped() -> bool:
        try:
            return lines(url).ask("hello") == ""
        except ConnectionResetError:
            return True

    wait_until(is_swapped)
    path.write_text("(module)")
    server.reload(2)
    assert "shout.wat: exports no memory" in server.log


def test_a_module_that_is_compiled_already_is_served(
    run: Run, folder: Path, lines: Callable[[str], Lines]
) -> None:
    (folder / "shout.wasm").write_bytes(wasmtime.wat2wasm(SHOUT.read_text()))
    server = run(TEXT.replace("shout.wat", "shout.wasm"))
    assert lines(server.serves(3)[1]).ask("hello") == "HELLO"


MODULES = {
    "no export": ("(module)", "exports no memory: expected a memory; exports no alloc: expected"),
    "a wrong signature": (
        PLUGIN.replace('"alloc") (param i32) (result i32) (i32.const 1024)', '"alloc")'),
        "exports alloc as (): expected alloc(i32) -> i32",
    ),
    "a misspelt export": (PLUGIN.replace('"on_open"', '"on_opened"'), "did you mean 'on_open'?"),
    "an unknown import": (
        PLUGIN.replace('"vespiary" "log"', '"vespiary" "logs"'),
        "imports vespiary.logs, which there is not: did you mean 'vespiary.log'?",
    ),
    "an import of a wrong type": (
        PLUGIN.replace("$close (param i32)", "$close (param i64)").replace(
            "(call $close (i32.const 4001))", ""
        ),
        "imports vespiary.close as (i64): expected (i32)",
    ),
    "a syntax error": ("(module (func", "is not a valid module: expected `)`"),
    "a memory above its limit": (
        PLUGIN.replace('(memory (export "memory") 1)', '(memory (export "memory") 17)'),
        "needs a memory of 1,114,112 bytes, and memory_bytes_max is 1,048,576",
    ),
    "no on_config": (PLUGIN.replace('"on_config"', '"configure"'), "exports no on_config"),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_bad_module_is_refused_with_its_reason(folder: Path, name: str) -> None:
    text, words = MODULES[name]
    (folder / "plugin.wat").write_text(text)
    path = folder / "wasp.toml"
    path.write_text(TEXT)
    with pytest.raises(FileError) as got:
        check(path)
    assert f"{path}:6: endpoints.web.plugin: plugin.wat: " in str(got.value)
    assert words in str(got.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("plugin.wat", "plugin.py:Echo", "expected a file that ends with .wasm or .wat"),
        ("plugin.wat", "plugins.wat", "did you mean 'plugin.wat'?"),
        ("ws://", "http://", "cannot serve http://127.0.0.1:0/"),
        (
            '"1MiB"',
            '"none"',
            "8: endpoints.web.wasm.memory_bytes_max: expected a number from 65536",
        ),
        ("fuel_per_call", "fuel", "write fuel_per_call"),
        ('host = "wasm"\nwasm', "wasm", "is for the host wasm: write host = 'wasm'"),
    ],
)
def test_mistakes_are_named_before_the_start(folder: Path, old: str, new: str, words: str) -> None:
    path = folder / "wasp.toml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(FileError) as got:
        check(path)
    assert words in str(got.value)


@pytest.mark.parametrize("is_optional", [False, True])
def test_without_wasmtime_the_error_says_what_to_install(folder: Path, is_optional: bool) -> None:
    path = folder / "wasp.toml"
    path.write_text(TEXT.replace('host = "wasm"', 'host = "wasm"\noptional = true'))
    if not is_optional:
        path.write_text(TEXT)
    program = (
        "import sys; sys.modules['wasmtime'] = None;"
        f"sys.argv = ['vespiary', 'check', {str(path)!r}];"
        "from vespiary.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == (0 if is_optional else 2)
    assert "the host 'wasm' needs wasmtime: pip install 'vespiary[wasm]'" in done.stderr
