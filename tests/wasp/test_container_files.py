"""The files for Docker in deploy/docker: their configuration serves, and they fit each other."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from websockets.sync.client import connect

from tests.wasp.conftest import Run
from vespiary.cli.main import main as commands

DOCKER = Path(__file__).resolve().parents[2] / "deploy" / "docker"
SOCKET = "http+unix:///tmp/admin.sock:/"


def service(name: str) -> Any:
    """What a compose file says about the server."""
    return yaml.safe_load((DOCKER / name).read_text())["services"]["vespiary"]


def instructions(name: str) -> list[str]:
    """The instructions of the Dockerfile that begin with a word, each in one line."""
    text = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ")
    return re.findall(rf"^{name} (.*)$", text, re.M)


def test_the_configuration_of_the_container_serves_and_is_healthy(run: Run, folder: Path) -> None:
    text = (DOCKER / "app" / "wasp.toml").read_text()
    assert SOCKET in text
    assert "0.0.0.0:9001" in text
    (folder / "echoes.py").write_text((DOCKER / "app" / "echoes.py").read_text())
    own = f"http+unix://{folder}/admin.sock:/"
    running = run(text.replace(SOCKET, own).replace("0.0.0.0:9001", "127.0.0.1:0"))
    running.until(lambda: any(url.startswith("ws:") for url in running.urls))
    running.until(lambda: any(url.startswith("http+unix:") for url in running.urls))
    url = next(url for url in running.urls if url.startswith("ws:"))
    with connect(url) as client:
        client.send("hello")
        assert client.recv(timeout=60) == "hello"

    check = health_check()
    healthy = subprocess.run(
        [sys.executable, "-m", *check], cwd=folder, capture_output=True, text=True, check=False
    )
    assert healthy.returncode == 0, healthy.stderr
    assert running.stop() == 0
    ended = subprocess.run(
        [sys.executable, "-m", *check], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ended.returncode != 0


def health_check() -> list[str]:
    """The command of the health check."""
    (line,) = instructions("HEALTHCHECK")
    command = json.loads(line.partition("CMD ")[2])
    assert isinstance(command, list)
    return [str(word) for word in command]


def test_the_image_runs_commands_that_exist() -> None:
    for words in (health_check(), json.loads(instructions("CMD")[0])):
        assert words[0] == "vespiary"
        assert words[1] in commands.list_commands(click.Context(commands))


@pytest.mark.parametrize("name", ["compose.yaml", "compose.io-uring.yaml"])
def test_the_profile_for_io_uring_is_only_in_the_file_that_is_called_so(name: str) -> None:
    options = service(name)["security_opt"]
    assert "no-new-privileges:true" in options
    assert any("seccomp" in option for option in options) == ("io-uring" in name)


def test_the_compose_file_fits_the_image_and_the_configuration() -> None:
    wanted = service("compose.yaml")
    root = (DOCKER / wanted["build"]["context"]).resolve()
    assert (root / wanted["build"]["dockerfile"]).samefile(DOCKER / "Dockerfile")
    (source, target, mode) = wanted["volumes"][0].split(":")
    assert (DOCKER / source / "wasp.toml").exists()
    assert [target] == instructions("WORKDIR")[-1:]
    assert mode == "ro"
    published = {port.rpartition(":")[2] for port in wanted["ports"]}
    configured = re.findall(r"0\.0\.0\.0:(\d+)", (DOCKER / "app" / "wasp.toml").read_text())
    assert published == set(configured)
    (mount,) = wanted["tmpfs"]
    assert SOCKET.startswith(f"http+unix://{mount}/")
