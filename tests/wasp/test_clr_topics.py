"""Plug-ins in C# that use topics, also those of a cluster."""

import contextlib
import json
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until
from tests.wasp.cluster_nodes import Broker
from tests.wasp.conftest import Lines, Run
from vespiary.wasp.clr.runtime import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason="mono or pythonnet is not installed")

PLUGIN = """\
using Vespiary;

public class Topics : Plugin
{
    public override void OnMessage(Connection connection, Message message)
    {
        switch (message.Text)
        {
            case "join": connection.Subscribe("room"); connection.Send("joined"); break;
            case "leave": connection.Unsubscribe("room"); connection.Send("left"); break;
            case "bytes": Publish("room", new byte[] { 98, 121, 116, 101, 115 }); break;
            case "null": connection.Subscribe(null); break;
            case "long": connection.Subscribe(new string('x', 1000)); break;
            case "still here": connection.Send("yes"); break;
            default: Publish("room", message.Text); break;
        }
    }
}
"""
TEXT = """\
[admin]
url = "http://127.0.0.1:0/"

[endpoints.topics]
url = "tcp://127.0.0.1:0"
plugin = "Topics.cs"
host = "clr"
framing = "line"
"""

Connect = Callable[[str], Lines]


@pytest.fixture(autouse=True)
def _plugin(folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any) -> None:
    (folder / "Topics.cs").write_text(PLUGIN)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp()))
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)


def test_connections_subscribe_and_the_plugin_publishes(run: Run, lines: Connect) -> None:
    server = run(TEXT)
    urls = server.serves(2)
    admin = next(url for url in urls if url.startswith("http"))
    url = next(url for url in urls if url.startswith("tcp"))
    member, guest = lines(url), lines(url)
    assert [member.ask("join"), guest.ask("join"), guest.ask("leave")] == ["joined"] * 2 + ["left"]
    assert member.ask("grüße") == "grüße"
    assert member.ask("bytes") == "bytes"
    assert guest.ask("still here") == "yes"
    # Its connections are listed as others are.
    with urllib.request.urlopen(f"{admin}connections", timeout=60) as answer:
        rows = json.load(answer)["rows"]
    ours = {"{}:{}".format(*one.socket.getsockname()) for one in (member, guest)}
    assert {row["peer"] for row in rows if row["endpoint"] == "topics"} == ours
    for word, reported in (("long", "topic_bytes_max"), ("null", "ArgumentNullException")):
        with contextlib.suppress(ConnectionResetError):
            assert lines(url).ask(word) == ""
        server.wait_for(reported)
    assert member.ask("still here") == "yes"
    assert server.stop() == 0


@pytest.mark.skipif(shutil.which("nats-server") is None, reason="nats-server is not installed")
def test_topics_are_those_of_all_nodes(run: Run, lines: Connect, port: int) -> None:
    broker = Broker(port)
    broker.start()
    try:
        text = f'cluster = "nats://127.0.0.1:{port}"\n{TEXT}'
        urls = [next(url for url in run(text).serves(2) if url.startswith("tcp")) for _ in range(2)]
        one, two = (lines(url) for url in urls)
        assert [one.ask("join"), two.ask("join")] == ["joined", "joined"]
        heard: list[str] = []

        def arrives() -> bool:
            # What is published before the nodes know each other reaches its own node only.
            one.ask("hello")
            two.socket.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                heard.append(two.socket.recv(100).decode())
            return bool(heard)

        wait_until(arrives)
        assert heard[0].startswith("hello\n")
    finally:
        broker.kill()
