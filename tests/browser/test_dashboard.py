"""The dashboard of `vespiary run` as an operator uses it: live charts, forms, keyboard, colors."""

import contextlib
import json
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.browser.chromium import Chromium, Page
from tests.browser.conftest import SECONDS

pytestmark = pytest.mark.acceptance

MANY = 10_000
PLUGIN = """\
import vespiary

class Echo(vespiary.Handler):
    def on_message(self, connection, message):
        connection.send(message)
"""
TEXT = """\
[admin]
url = "http://127.0.0.1:{admin}/"
{more}
[endpoints.echo]
url = "tcp://127.0.0.1:{port}"
plugin = "plug.py:Echo"
framing = "line"
limits.connections_max = 20_000

[endpoints.socket]
url = "ws://127.0.0.1:0/"
plugin = "plug.py:Echo"
"""
PAGES = ("", "/endpoints", "/connections", "/workers", "/log", "/time-wait")


@dataclass
class Server:
    """A server that is administered at a port, and echoes lines at another one."""

    admin: int
    port: int

    def url(self, path: str) -> str:
        """The URL of a page."""
        return f"http://127.0.0.1:{self.admin}{path}"

    def connect(self) -> socket.socket:
        """A connection that has sent a message, and got it back."""
        made = socket.create_connection(("127.0.0.1", self.port), SECONDS)
        made.sendall(b"hello\n")
        assert made.recv(100)
        return made


@contextlib.contextmanager
def serving(folder: Path, more: str = "") -> Iterator[Server]:
    """A process of `vespiary run`."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        server = Server(*(one.getsockname()[1] for one in taken))
    (folder / "plug.py").write_text(PLUGIN)
    text = TEXT.format(admin=server.admin, port=server.port, more=more)
    (folder / "wasp.toml").write_text(text)
    with (folder / "log").open("wb") as log:
        words = [sys.executable, "-W", "error", "-m", "vespiary", "run"]
        process = subprocess.Popen(words, cwd=folder, stderr=log)
    try:
        end = time.monotonic() + SECONDS
        while "/live" not in (folder / "log").read_text():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, "the server does not start"
            time.sleep(0.01)
        yield server
        process.terminate()
        assert process.wait(SECONDS) == 0
        logged = (folder / "log").read_text()
        assert "Traceback" not in logged, logged
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for several tests."""
    with serving(tmp_path_factory.mktemp("dashboard")) as started:
        yield started


@pytest.fixture
def page(chromium: Chromium, server: Server) -> Iterator[Page]:
    """The overview."""
    with chromium.open(server.url("/dashboard")) as opened:
        opened.resize(1400, 1000)
        opened.wait_for("document.querySelector('#link').className === 'live'")
        yield opened


def message(page: Page, words: str) -> None:
    """Wait until the page says something about a command."""
    page.wait_for(f"document.querySelector('#message').textContent.includes({json.dumps(words)})")


def test_numbers_and_charts_follow_the_server(page: Page, server: Server) -> None:
    page.wait_for("document.querySelectorAll('.charts canvas').length === 4")
    with contextlib.closing(server.connect()):
        page.wait_for(
            "document.querySelector(\"[data-live='total.connections_open']\").textContent === '1'"
        )
        page.wait_for(
            "document.querySelector('.uplot').getAttribute('aria-label')"
            " === 'Open connections, now: open 1'"
        )
        page.wait_for("document.querySelector('#rows tbody').rows[0].cells[2].textContent === '1'")
    page.wait_for("document.querySelector('#rows tbody').rows[0].cells[2].textContent === '0'")
    page.click("#pause")
    assert page.run("document.querySelector('#pause').getAttribute('aria-pressed')") == "true"
    before = page.run("samples.length")
    with contextlib.closing(server.connect()):
        page.run("new Promise((done) => setTimeout(done, 1500))")
        assert page.run("samples.length") == before
    # What was seen is there on the next page of the window.
    page.go(server.url("/dashboard/workers"))
    assert page.run("samples.length") >= before


def test_an_endpoint_is_suspended_limited_and_resumed_by_mouse(page: Page, server: Server) -> None:
    page.go(server.url("/dashboard/endpoints"))
    page.click("#suspend-echo")
    message(page, "echo: suspend")
    page.wait_for("document.querySelector('.state.suspended')?.textContent.includes('suspended')")
    page.click("#resume-echo")
    message(page, "echo: resume")
    page.click("#limit-value")
    page.write("soon")
    page.click("#limit-set")
    message(page, "must be a number such as 1000")
    assert page.run("document.querySelector('#message p').classList.contains('failed')")
    page.run("document.querySelector('#limit-value').value = ''")
    page.click("#limit-value")
    page.write("5000")
    page.click("#limit-set")
    message(page, "echo: connections_max is 5000 until the next reload")
    page.go(server.url("/dashboard"))
    page.click("#reload")
    message(page, "unchanged echo")
    page.go(server.url("/dashboard/log"))
    text = page.run("document.querySelector('main').textContent")
    assert "set limit endpoint=echo limit=connections_max value=5000" in " ".join(text.split())


def test_a_connection_is_found_tapped_and_disconnected(page: Page, server: Server) -> None:
    with contextlib.closing(server.connect()) as client:
        host, port = client.getsockname()
        page.go(server.url(f"/dashboard/connections?peer={host}:{port}"))
        assert page.run("document.querySelector('#connections tbody').rows.length") == 1
        page.run("document.querySelector('#connections tbody a').click()")
        page.wait_for("document.title.startsWith('Connection ') && !!window.htmx")
        page.wait_for("document.querySelector('#link').className === 'live'")
        page.click("#tap-begin")
        message(page, "The tap has begun.")

        def shown() -> bool:
            client.sendall("Grüße <b>\n".encode())
            client.recv(100)
            return bool(page.run("document.querySelector('#tapped tbody').rows.length > 1"))

        end = time.monotonic() + SECONDS
        while not shown():
            assert time.monotonic() < end, "the tap shows nothing"
        texts = page.run(
            "[...document.querySelector('#tapped tbody').rows].map((row) => row.cells[3].innerText)"
        )
        assert "Grüße <b>" in texts
        page.click("#tap-end")
        message(page, "The tap has ended.")
        page.click("#disconnect")
        message(page, "closing")
        assert client.recv(1000) == b""


def test_it_is_used_by_keyboard_and_read_aloud(page: Page, server: Server) -> None:
    page.press("Tab")
    assert page.run("document.activeElement.textContent") == "Skip to the content"
    page.press("Enter")
    assert page.run("document.activeElement.id") == "main"
    page.go(server.url("/dashboard/endpoints"))
    page.run("document.querySelector('#suspend-socket').focus()")
    page.press("Enter")
    message(page, "socket: suspend")
    # The focus is on the button that has taken the place of the one that was used.
    page.wait_for("document.activeElement.id === 'resume-socket'")
    page.press("Enter")
    message(page, "socket: resume")
    for path in PAGES:
        page.go(server.url("/dashboard" + path))
        page.wait_for("document.querySelector('#link').className === 'live'")
        assert (
            page.run(
                "[...document.querySelectorAll('input:not([type=hidden]), select')]"
                ".filter((it) => it.labels.length === 0).length"
            )
            == 0
        )
        assert count(page, "[tabindex]:not([tabindex='-1'])") == 0
        tables = "main table:not(.u-legend)"
        assert count(page, f"{tables} caption") == count(page, tables)
        assert count(page, "h1") == 1
        assert page.run("document.querySelector('html').lang") == "en"
        assert page.run(
            "[...document.querySelectorAll('button')].every((it) => it.textContent.trim())"
        )
        current = page.run("document.querySelector('nav [aria-current=page]').href")
        assert current == server.url("/dashboard" + path)


def count(page: Page, selector: str) -> int:
    """How many elements there are."""
    found: int = page.run(f"document.querySelectorAll({json.dumps(selector)}).length")
    return found


CONTRAST = """\
(() => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = parts(color).map((one) => {
      const share = one / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (it) => {
    for (let at = it; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      const [, , , alpha = 1] = parts(color);
      if (alpha > 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const it of document.querySelectorAll("body *")) {
    const hasText = [...it.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
    if (!hasText || it.closest("[hidden], script") || it.disabled) continue;
    const [one, other] = [light(getComputedStyle(it).color), light(ground(it))].sort();
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) found.push(`${it.tagName}.${it.className}: ${contrast.toFixed(2)}`);
  }
  return [getComputedStyle(document.body).backgroundColor, found];
})()"""


def test_each_page_is_readable_in_light_and_dark(page: Page, server: Server) -> None:
    grounds = set()
    with contextlib.closing(server.connect()):
        for path in PAGES:
            page.go(server.url("/dashboard" + path))
            for scheme in ("light", "dark"):
                page.prefer(scheme)
                ground, faint = page.run(CONTRAST)
                grounds.add(ground)
                assert faint == [], (path, scheme)
    assert len(grounds) == 2


def test_a_browser_logs_in_with_a_token(chromium: Chromium, tmp_path: Path) -> None:
    token = "correct horse battery"
    with (
        serving(tmp_path, f'token = "{token}"') as server,
        chromium.open(server.url("/login")) as page,
    ):
        page.click("#token")
        page.write("wrong wrong wrong")
        page.press("Enter")
        page.wait_for("document.querySelector('[role=alert]')?.textContent.includes('not a token')")
        page.click("#token")
        page.write(token)
        page.press("Enter")
        page.wait_for("location.pathname === '/dashboard'")
        page.wait_for("document.querySelector('#link')?.className === 'live'")
        page.go(server.url("/logout"))
        page.wait_for("location.pathname === '/login'")


def test_a_page_with_10_000_connections_stays_responsive(
    chromium: Chromium, tmp_path: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = MANY + 1000
    try:
        # Only root may raise the hard limit.
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(before[1], needed)))
    except ValueError:
        pytest.skip(f"the hard limit for open files is {before[1]}: raise it to {needed}")
    try:
        with contextlib.ExitStack() as stack, serving(tmp_path) as server:
            for _ in range(MANY):
                made = socket.create_connection(("127.0.0.1", server.port), SECONDS)
                stack.callback(made.close)
            page = stack.enter_context(chromium.open(server.url("/dashboard/connections")))
            page.wait_for("document.readyState === 'complete'")
            # The kernel has completed all of them before the last one was accepted.
            with contextlib.closing(server.connect()):
                use_many(page, server)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def use_many(page: Page, server: Server) -> None:
    """Go through pages of a list of 10,001 connections."""
    shown = "document.querySelector('#connections caption').textContent"
    for query in ("", "?offset=9950", "?order=bytes_received", "?peer=127.0.0.0/8"):
        page.go(server.url("/dashboard/connections" + query))
        assert page.run(shown).startswith("10,001 connections")
        assert page.run("document.querySelector('#connections tbody').rows.length") == 50
        seconds = page.run("performance.getEntriesByType('navigation')[0].duration / 1000")
        assert seconds < 20, f"{query} took {seconds} s"
    page.wait_for("document.querySelector('#link').className === 'live'")
    before = page.run("samples.length")
    page.wait_for(f"samples.length > {before} + 1")
    with urlopen(server.url("/healthz"), timeout=SECONDS) as answer:
        assert answer.status == 200
