"""ASGI and WSGI applications as plug-ins."""

import json
import re
import signal
import ssl
import urllib.request
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.api.certificates import Certificates
from tests.wasp.conftest import Run
from vespiary.wasp import FileError, check

APPLICATIONS = """
import fastapi

VERSION = 1
api = fastapi.FastAPI()

@api.get("/hello")
async def hello(request: fastapi.Request):
    return {"root": request.scope["root_path"], "version": VERSION}

@api.websocket("/echo")
async def echo_socket(socket: fastapi.WebSocket):
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()

def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["SCRIPT_NAME"].encode() + b" " + environ["PATH_INFO"].encode()]

async def failing(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
"""

TEXT = """\
[endpoints.api]
url = "http://127.0.0.1:0/"
plugin = "plug.py:api"
application.root_path = "/v1"

[endpoints.pages]
url = "http://127.0.0.1:0/"
plugin = "plug.py:wsgi"
application = { root_path = "/pages", threads = 2 }
"""


@pytest.fixture(autouse=True)
def _applications(folder: Path) -> None:
    plugin = folder / "plug.py"
    plugin.write_text(plugin.read_text() + APPLICATIONS)


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        text: str = answer.read().decode()
    return text


def version(api: str) -> str:
    """The version that serves; empty if the old one has accepted the connection and drains."""
    try:
        return get(f"{api}hello").rpartition(":")[2].rstrip("}")
    except OSError:
        return ""


@pytest.mark.parametrize("workers", ["", "workers = 1\n"])
def test_both_kinds_are_served_and_reloaded(run: Run, folder: Path, workers: str) -> None:
    server = run(workers + TEXT)
    api, pages = server.serves(2)
    assert get(f"{api}hello") == '{"root":"/v1","version":1}'
    assert get(f"{pages}pages/one") == "/pages /one"
    with connect(api.replace("http:", "ws:") + "echo") as client:
        client.send("hello")
        assert client.recv() == "hello"
    plugin = folder / "plug.py"
    plugin.write_text(plugin.read_text().replace("VERSION = 1", "VERSION = 2"))
    server.process.send_signal(signal.SIGHUP)
    server.until(lambda: version(api) == "2")
    assert server.stop() == 0


def test_the_configuration_of_the_documents_serves_with_tls_workers_and_metrics(
    run: Run, folder: Path
) -> None:
    document = (Path(__file__).parents[2] / "docs/how-to/asgi.md").read_text()
    found = re.search(r"```toml\n# wasp.toml\n(.*?)```", document, re.DOTALL)
    assert found is not None
    text = found[1]
    assert text.count("\n") < 20
    (folder / "project").mkdir()
    (folder / "project" / "main.py").write_text(APPLICATIONS.replace("api =", "app = api ="))
    certificates = Certificates(folder)
    certificate, key = certificates.make("localhost", "127.0.0.1")
    certificate.rename(folder / "app.example.com.pem")
    key.rename(folder / "app.example.com-key.pem")
    text = re.sub(r"(https?)://[^/]*/", r"\1://127.0.0.1:0/", text)
    server = run(text)
    web, admin, _ = server.serves(3)
    context = ssl.create_default_context(cafile=certificates.ca)
    with urllib.request.urlopen(f"{web}hello", timeout=60, context=context) as answer:
        assert answer.read() == b'{"root":"","version":1}'
    assert 'vespiary_connections_accepted_total{endpoint="web"' in get(f"{admin}metrics")
    assert len(json.loads(get(f"{admin}status"))["workers"]) == 4
    assert server.stop() == 0


def test_an_application_that_fails_to_start_is_named(run: Run, folder: Path) -> None:
    server = run(TEXT.replace('plug.py:api"', 'plug.py:failing"'))
    assert server.end() == 1
    assert "no database" in server.log
    assert f"raised by on_start of endpoints.api ({folder}/wasp.toml:1)" in server.log


def test_options_that_have_no_effect_are_refused(folder: Path) -> None:
    path = folder / "wasp.toml"
    path.write_text(TEXT.replace('application.root_path = "/v1"', "application.threads = 3"))
    with pytest.raises(FileError) as got:
        check(path)
    assert f"{path}:4: endpoints.api.application.threads: application.threads is for WSGI" in str(
        got.value
    )
