"""The host `clr`: managed plug-ins in C#, which fail in every way, and change while they serve."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from tests.waiting import wait_until
from tests.wasp.conftest import Lines, Run, Running
from vespiary.errors import ConfigurationError
from vespiary.wasp import FileError, check
from vespiary.wasp.clr import assemblies, runtime

pytestmark = pytest.mark.skipif(
    runtime.missing() is not None, reason="mono or pythonnet is not installed"
)

PLUGIN = """\
using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Vespiary;

public class Plug : Plugin
{
    private static readonly List<byte[]> kept = new List<byte[]>();
    private Config config;

    public override void OnStart(Config config)
    {
        this.config = config;
        if (config.Get("fails", false)) throw new InvalidOperationException("there is no database");
        Log.Info("started");
    }

    public override void OnOpen(Connection connection)
    {
        connection.UserData = 0L;
    }

    public override void OnMessage(Connection connection, Message message)
    {
        object nothing = null;
        switch (message.Text)
        {
            case "throw": throw new ArgumentException("this is a fault of the plug-in");
            case "null": nothing.ToString(); break;
            case "stack": Deep(1); break;
            case "exit": Environment.Exit(3); break;
            case "hang": while (true) { }
            case "leak": Leak(); break;
            case "thread": new Thread(() => { throw new Exception("in a thread"); }).Start(); break;
            case "later": new Thread(() => connection.Send("from a thread")).Start(); break;
            case "flood": new Thread(() => Flood(connection)).Start(); break;
            case "others": Broadcast("to all", Connections.Where(one => one != connection)); break;
            case "close": connection.Close(4001, "enough"); connection.Send("too late"); break;
            case "abort": connection.Abort(); break;
            case "lines": connection.Send("one\\ntwo"); break;
            case "who": connection.Send(connection.Peer + " " + connection.Endpoint); break;
            case "config": connection.Send(Shown(config)); break;
            case "count":
                connection.UserData = (long)connection.UserData + 1;
                connection.Send(connection.UserData.ToString());
                break;
            default:
                connection.Send(message);
                break;
        }
    }

    public override void OnClose(Connection connection, CloseReason reason)
    {
        Log.Info("closed with " + reason.Code);
    }

    public override void OnStop()
    {
        Log.Info("stopped");
    }

    private static int Deep(int depth)
    {
        return Deep(depth + 1) + Deep(depth + 2);
    }

    private static void Leak()
    {
        while (true)
        {
            var data = new byte[4 << 20];
            for (int at = 0; at < data.Length; at += 4096) data[at] = 1;
            kept.Add(data);
        }
    }

    private static void Flood(Connection connection)
    {
        for (int number = 0; number < 20000; ++number) connection.Send("number " + number);
    }

    private static string Shown(object value)
    {
        var table = value as Config;
        if (table != null)
        {
            var parts = table.Select(one => one.Key + "=" + Shown(one.Value));
            return "{" + string.Join(" ", parts) + "}";
        }
        var list = value as List<object>;
        if (list != null)
        {
            return "[" + string.Join(" ", list.Select(Shown)) + "]";
        }
        return value.GetType().Name + ":" + value;
    }
}
"""

TEXT = """\
[admin]
url = "http://127.0.0.1:0/"

[endpoints.managed]
url = "tcp://127.0.0.1:0"
plugin = "Plug.cs"
host = "clr"
framing = "line"
process = { hang_seconds = 20, memory_bytes_max = "300MiB", restart_seconds_max = 0.05 }

[endpoints.managed.config]
text = "honey \\u00fc"
number = 5_000_000_000
"""
ENDS = {
    "exit": "ended with status 3",
    "thread": "in a thread",
    "leak": "It had reached memory_bytes_max, 314572800 bytes",
}

KINDS = {
    "throw": "ArgumentException",
    "null": "NullReferenceException",
    "stack": "StackOverflowException",
}

Connect = Callable[[str], Lines]


@pytest.fixture(autouse=True)
def _plugin(folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any) -> None:
    (folder / "Plug.cs").write_text(PLUGIN)
    # One cache for all tests of a run: each plug-in is compiled once.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp()))
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)


def started(run: Run, text: str = TEXT) -> tuple[Running, str, str]:
    """A server with the URLs of its administration and of the endpoint."""
    server = run(text)
    urls = server.serves(2)
    admin = next(url for url in urls if url.startswith("http"))
    return server, admin, next(url for url in urls if not url.startswith("http"))


def status(admin: str) -> Any:
    with urllib.request.urlopen(f"{admin}status", timeout=60) as answer:
        return json.load(answer)["endpoints"]["managed"]


def served(lines: Connect, url: str, word: str = "hello") -> str:
    """The answer of a process that serves: the connections of one that ends are closed."""
    answers: list[str] = []

    def has_answered() -> bool:
        with contextlib.suppress(OSError):
            answers.append(lines(url).ask(word))
        return bool(answers and answers[-1])

    wait_until(has_answered)
    return answers[-1]


def test_a_managed_plug_in_has_its_configuration_connections_and_threads(
    run: Run, lines: Connect
) -> None:
    more = (
        'is_on = true\nratio = 0.5\nwhen = 2026-11-30T10:00:00Z\nlist = [1, "b"]\ntable = { a = 1 }'
    )
    server, admin, url = started(run, TEXT + more)
    server.wait_for("Plug.cs: started")
    client = lines(url)
    assert client.ask("config") == (
        "{text=String:honey ü number=Int64:5000000000 is_on=Boolean:True ratio=Double:0.5"
        " when=DateTime:11/30/2026 10:00:00 list=[Int64:1 String:b] table={a=Int64:1}}"
    )
    assert [client.ask("count"), client.ask("count")] == ["1", "2"]
    host, port = client.socket.getsockname()
    assert client.ask("who") == f"{host}:{port} managed"
    assert client.ask("later") == "from a thread"
    with contextlib.suppress(ConnectionResetError):
        # It was queued, and cannot be sent: the stream would not be what the plug-in has sent.
        assert lines(url).ask("lines") == ""
    server.wait_for("A call of Plug.cs has failed, so its connection is reset")
    other = lines(url)
    assert other.ask("count") == "1"
    client.socket.sendall(b"others\n")
    assert other.ask("count") == "to all"
    assert client.ask("flood") == "number 0"
    for number in range(1, 20000):
        assert client.line() == f"number {number}"
    assert status(admin)["handler_errors"] == 0
    assert server.stop() == 0
    server.wait_for("Plug.cs: stopped")


def test_an_exception_closes_its_connection_only_and_is_reported_with_its_stack(
    run: Run, lines: Connect
) -> None:
    server, admin, url = started(
        run, TEXT.replace("tcp://", "ws://").replace('framing = "line"', "")
    )
    with connect(url) as other:
        for word, kind in KINDS.items():
            with connect(url) as client:
                client.send(word)
                with pytest.raises(ConnectionClosedError) as ended:
                    client.recv(timeout=60)
                assert ended.value.rcvd is not None
                assert ended.value.rcvd.code == 1011
            server.wait_for(f"OnMessage of Plug.cs has thrown System.{kind}")
        server.wait_for("Plug.cs: closed with 1011", len(KINDS))
        server.wait_for("further lines")
        # The stack has the file and the line.
        line = PLUGIN[: PLUGIN.index("throw new ArgumentException")].count("\n") + 1
        server.wait_for(f"Plug.cs:{line}")
        with connect(url) as client:
            client.send("close")
            with pytest.raises(ConnectionClosedError) as ended:
                client.recv(timeout=60)
            assert ended.value.rcvd is not None
            assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (4001, "enough")
        other.send("text")
        assert other.recv(timeout=60) == "text"
        other.send(b"bytes\0")
        assert other.recv(timeout=60) == b"bytes\0"
    assert status(admin)["handler_errors"] == len(KINDS)
    assert status(admin)["plugin_process"]["processes_started"] == 1
    assert server.stop() == 0


@pytest.mark.slow
def test_every_fault_of_the_process_is_reported_and_recovered_from(
    run: Run, lines: Connect
) -> None:
    server, admin, url = started(run)
    for number, (fault, report) in enumerate(ENDS.items(), start=2):
        client = lines(url)
        assert client.ask("hello") == "hello"
        with contextlib.suppress(ConnectionResetError):
            assert client.ask(fault) == ""
        server.wait_for(report)
        assert served(lines, url) == "hello"
        assert status(admin)["plugin_process"]["processes_started"] == number
    assert server.stop() == 0


@pytest.mark.slow
def test_a_loop_without_an_end_is_killed(run: Run, lines: Connect) -> None:
    server, _, url = started(run, TEXT.replace("hang_seconds = 20", "hang_seconds = 3"))
    assert lines(url).ask("hang") == ""
    server.wait_for("its event loop was blocked for")
    assert served(lines, url) == "hello"


def test_a_changed_file_replaces_the_plug_in_and_one_with_mistakes_does_not(
    run: Run, lines: Connect, folder: Path
) -> None:
    server, _, url = started(run)
    file = folder / "Plug.cs"
    held = lines(url)
    assert held.ask("hello") == "hello"
    file.write_text(PLUGIN + "public class Broken { int one = two; }\n")
    server.wait_for("The plug-in of endpoints.managed was not replaced")
    line = PLUGIN.count("\n") + 1
    server.wait_for(f"{file}:{line}:")
    assert held.ask("hello") == "hello"
    replaced = folder / "new"
    replaced.write_text(PLUGIN.replace("connection.Send(message);", 'connection.Send("new");'))
    replaced.rename(file)
    server.wait_for("Reloaded: replaced managed")
    wait_until(lambda: served(lines, url) == "new")
    # One that cannot start leaves this one serving.
    file.write_text(file.read_text().replace('Get("fails", false)', 'Get("fails", true)'))
    server.wait_for("The configuration was not reloaded")
    assert "OnStart of Plug.cs has thrown System.InvalidOperationException" in server.log
    assert served(lines, url) == "new"
    held.close()
    assert server.stop() == 0


@pytest.mark.slow
def test_with_workers_a_changed_file_starts_a_new_generation(
    run: Run, lines: Connect, folder: Path
) -> None:
    server = run("workers = 2\n" + TEXT.partition("\n\n")[2])
    url = server.serves(1)[0]
    assert served(lines, url) == "hello"
    file = folder / "Plug.cs"
    file.write_text(PLUGIN.replace("connection.Send(message);", 'connection.Send("new");'))
    server.wait_for("Reloaded: generation 2 serves")
    assert server.log.count("has changed") == 1
    wait_until(lambda: served(lines, url) == "new")
    assert server.stop() == 0


@pytest.mark.slow
def test_a_plug_in_that_is_not_watched_is_replaced_by_a_reload_only(
    run: Run, lines: Connect, folder: Path
) -> None:
    server, _, url = started(
        run,
        TEXT.replace(
            "[endpoints.managed.config]", "clr.watch = false\n\n[endpoints.managed.config]"
        ),
    )
    file = folder / "Plug.cs"
    file.write_text(PLUGIN.replace("connection.Send(message);", 'connection.Send("new");'))
    # A process that starts again has what the server has compiled, and not what the file is now.
    process = status(server.urls[0] if server.urls[0].startswith("http") else server.urls[1])
    os.kill(process["plugin_process"]["process"], signal.SIGKILL)
    server.wait_for("is back, as process")
    assert served(lines, url) == "hello"
    server.reload()
    wait_until(lambda: served(lines, url) == "new")


@pytest.mark.slow
def test_an_assembly_with_a_reference_is_served_from_memory(
    run: Run, lines: Connect, folder: Path
) -> None:
    def compiled(name: str, text: str, *others: str) -> None:
        (folder / f"{name}.cs").write_text(text)
        target = [f"-out:{name}.dll", f"{name}.cs", *others]
        subprocess.run(["mcs", "-target:library", *target], cwd=folder, check=True)

    compiled("Words", 'public static class Words { public static string Of() { return "buzz"; } }')
    shutil.copy(assemblies.INTERFACE, folder)
    text = (
        "public class One : Vespiary.Plugin { public override void OnMessage(Vespiary.Connection c,"
        " Vespiary.Message m) { c.Send(Words.Of()); } }\n"
    )
    compiled(
        "Built",
        text + text.replace("One", "Two").replace("Of()", "Of() + 2"),
        "Vespiary.cs",
        "-r:Words.dll",
    )
    made = TEXT.replace("Plug.cs", "Built.dll:Two").replace(
        "[endpoints.managed.config]", 'clr.references = ["Words.dll"]\n\n[endpoints.managed.config]'
    )
    server, _, url = started(run, made)
    for name in ("Words.dll", "Built.dll"):
        (folder / name).unlink()
    assert served(lines, url) == "buzz2"
    assert server.stop() == 0


@pytest.mark.slow
def test_a_folder_is_one_plug_in(folder: Path, run: Run, lines: Connect) -> None:
    place = folder / "plug" / "inner"
    place.mkdir(parents=True)
    (folder / "plug" / "Plug.cs").write_text(
        PLUGIN.replace("connection.Send(message);", "connection.Send(Other.Word);")
    )
    (place / "Other.cs").write_text(
        'public static class Other { public const string Word = "hum"; }'
    )
    server, _, url = started(run, TEXT.replace("Plug.cs", "plug"))
    assert served(lines, url) == "hum"
    (place / "Other.cs").write_text(
        'public static class Other { public const string Word = "sting"; }'
    )
    server.wait_for("Reloaded: replaced managed")
    wait_until(lambda: served(lines, url) == "sting")


WRONG = {
    "no-file": ("Plug.cs", "Plag.cs", "Plag.cs: there is no such file; did you mean 'Plug.cs'?"),
    "other-file": ('"Plug.cs"', '"plug.py"', "expected a file that ends with .cs or .dll"),
    "no-class": ("Plug.cs", "Plug.cs:Plog", "has no plug-in 'Plog': did you mean 'Plug'?"),
    "http": ("tcp://", "http://", "cannot be served by the host clr"),
    "executor": ("framing", 'executor = "threads"\nframing', "executor: has no effect"),
    "no-reference": (
        "framing",
        'clr.references = ["Gone.dll"]\nframing',
        "Gone.dll: cannot be read",
    ),
    "bad-assembly": ("Plug.cs", "bad.dll", "bad.dll: is not an assembly"),
    "no-interface": ("Plug.cs", "bare.dll", "bare.dll: was not compiled with the Vespiary.cs"),
    "other-host": ('host = "clr"', "clr.watch = false", "clr: is for the host clr"),
    "mistake": ("Plug.cs", "Mistake.cs", "Mistake.cs:2:"),
    "several": ("Plug.cs", "several", "has 2 plug-ins, A, B: name one, as in several:A"),
    "none": ("Plug.cs", "empty", "is a folder without files"),
}


@pytest.mark.parametrize("case", WRONG)
def test_check_reports_what_is_wrong(folder: Path, case: str) -> None:
    old, new, report = WRONG[case]
    assert old in TEXT
    (folder / "bad.dll").write_bytes(b"nothing")
    (folder / "Mistake.cs").write_text("class Mistake\n{ int a = b; }\n")
    (folder / "empty").mkdir()
    (folder / "several").mkdir()
    one = "public override void OnMessage(Vespiary.Connection c, Vespiary.Message m) { }"
    text = "".join(f"public class {name} : Vespiary.Plugin {{ {one} }}\n" for name in "AB")
    (folder / "several" / "AB.cs").write_text(text)
    if case == "no-interface":
        (folder / "Bare.cs").write_text("public class Bare { }")
        subprocess.run(
            ["mcs", "-target:library", "-out:bare.dll", "Bare.cs"], cwd=folder, check=True
        )
    file = folder / "wasp.toml"
    file.write_text(TEXT.replace(old, new))
    with pytest.raises(FileError) as wrong:
        check(file)
    assert report in str(wrong.value)
    assert f"{file}:" in str(wrong.value)


def test_what_is_missing_is_named_with_the_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "wasp.toml"
    file.write_text(TEXT)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(FileError, match=r"host: the host 'clr' needs mono: on Debian, apt install"):
        check(file)
    monkeypatch.setitem(sys.modules, "pythonnet", None)
    with pytest.raises(FileError, match=r"needs pythonnet: pip install 'vespiary\[clr\]'"):
        check(file)


def test_what_was_compiled_is_taken_from_the_cache_of_this_user_only(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    cache = home / "vespiary" / "clr"

    def compiled() -> assemblies.Managed:
        assemblies._remembered.clear()
        return assemblies.managed("Plug.cs", (), folder)

    first = compiled()
    assert [one.name for one in cache.iterdir()] != []
    assert cache.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("PATH", str(folder))
    assert compiled() == first
    cache.chmod(0o722)
    with pytest.raises(ConfigurationError, match="there is no program mcs"):
        compiled()
    cache.chmod(0o700)
    assert compiled() == first
    (folder / "Plug.cs").write_text(PLUGIN + "\n")
    with pytest.raises(ConfigurationError, match="there is no program mcs"):
        compiled()
    assert not [one for one in cache.iterdir() if one.name.startswith("vespiary-")]


def test_check_prints_the_interface() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vespiary", "check", "--csharp"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == assemblies.INTERFACE.read_text()
