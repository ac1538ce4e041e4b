"""`vespiary install`: a unit that may do what its configuration needs, and no more."""

import configparser
import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.wasp.conftest import Lines, Run

LINE = '[endpoints.a]\nurl = "tcp://127.0.0.1:5050"\nplugin = "plug.py:Greeter"\n'


def install(folder: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "wasp.toml").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "vespiary", "install", str(folder / "wasp.toml"), *words],
        capture_output=True,
        text=True,
        check=False,
    )


def service(text: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    assert parser["Install"]["WantedBy"] == "multi-user.target"
    return dict(parser["Service"])


def test_the_unit_runs_the_configuration_and_waits_for_its_longest_drain(folder: Path) -> None:
    done = install(folder, LINE + "deadlines.drain_seconds = 60\n", "--print", "--name", "app")
    unit = service(done.stdout)
    assert unit["ExecStart"].endswith(f" run {folder}/wasp.toml")
    assert (unit["Type"], unit["ExecReload"]) == ("notify", "kill -HUP $MAINPID")
    assert unit["TimeoutStopSec"] == "67"
    assert unit["DynamicUser"] == "yes"
    assert unit["CapabilityBoundingSet"] == ""
    assert unit["NoNewPrivileges"] == "yes"


def test_a_port_below_1024_and_a_user_need_capabilities(folder: Path) -> None:
    text = LINE.replace(":5050", ":80")
    unit = service(install(folder, text, "--print", "--user", "app").stdout)
    assert unit["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"
    assert unit["User"] == "app"
    unit = service(install(folder, 'user = "nobody"\n' + text, "--print").stdout)
    assert unit["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE CAP_SETGID CAP_SETUID"
    assert not {"User", "DynamicUser"} & unit.keys()


def test_the_unit_is_written_only_for_a_valid_configuration(folder: Path, tmp_path: Path) -> None:
    units = tmp_path / "units"
    units.mkdir()
    done = install(folder, LINE + "colour = 1\n", "--folder", str(units))
    assert done.returncode == 2
    assert list(units.iterdir()) == []
    done = install(folder, LINE, "--folder", str(units), "--name", "app")
    assert f"wrote {units}/app.service" in done.stdout
    assert service((units / "app.service").read_text())["StateDirectory"] == "app"
    done = install(folder, LINE, "--folder", str(units), "--name", "a/b")
    assert "cannot be the name of a unit" in " ".join(done.stderr.split())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("workers", ["", "workers = 1\n"])
def test_root_opens_the_sockets_and_another_user_serves(
    run: Run, folder: Path, lines: Callable[[str], Lines], workers: str
) -> None:
    plugin = folder / "plug.py"
    plugin.write_text(
        plugin.read_text()
        + """
class Who(Greeter):
    def on_message(self, connection, message):
        connection.send(f"{os.getuid()} {os.getgid()} {os.getgroups()}".encode())
"""
    )
    text = LINE.replace("Greeter", "Who").replace(":5050", ":0") + 'framing = "line"\n'
    server = run(f'user = "nobody"\n{workers}{text}')
    entry = pwd.getpwnam("nobody")
    expected = f"{entry.pw_uid} {entry.pw_gid} [{entry.pw_gid}]"
    client = lines(server.serves(1)[0])
    assert client.ask("who") == expected
    client.close()
    assert server.stop() == 0
