"""A headless Chromium, driven over its DevTools protocol: a real client, which nobody here wrote.

There is no driver between: the browser listens for DevTools on a port that it writes into its
profile, and a session per page is a WebSocket message with the session's name in it. Pages run
JavaScript that is handed over as an expression, whose promise is awaited by the browser.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import connect

NAMES = ("chromium-headless-shell", "chromium")
SECONDS = 60.0

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    # All names but our own lead nowhere: nothing leaves this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)


class PageError(Exception):
    """What a page's JavaScript threw."""


def find_chromium() -> str | None:
    """Where a Chromium is, if this machine has one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """The browser, with a profile of its own in a folder."""

    def __init__(self, program: str, folder: Path) -> None:
        profile = folder / "profile"
        with (folder / "chromium.log").open("wb") as log:
            # The program may be a script that starts another one: they share a group.
            self._process = subprocess.Popen(
                [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._stack = contextlib.ExitStack()
        self._stack.callback(self._kill)
        try:
            self.url = self._wait_for_url(profile / "DevToolsActivePort", folder / "chromium.log")
            client = connect(self.url, max_size=None, compression=None)
            self._socket = self._stack.enter_context(client)
        except BaseException:
            self._stack.close()
            raise
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _wait_for_url(self, file: Path, log: Path) -> str:
        end = time.monotonic() + SECONDS
        while True:
            lines = file.read_text().splitlines() if file.exists() else []
            if len(lines) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            assert self._process.poll() is None, f"the browser ended: {log.read_text()}"
            assert time.monotonic() < end, f"the browser does not start: {log.read_text()}"
            time.sleep(0.02)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol; events that come meanwhile are passed over.

        Raises:
            PageError: the browser refused it.
        """
        self._count += 1
        call: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if session:
            call["sessionId"] = session
        self._socket.send(json.dumps(call))
        while True:
            told = json.loads(self._socket.recv(SECONDS * 2))
            if told.get("id") == self._count:
                if "error" in told:
                    raise PageError(told["error"]["message"])
                result: dict[str, Any] = told["result"]
                return result

    def open(self, url: str) -> "Page":
        """Open a page in a window of its own."""
        target = self.ask("Target.createTarget", url=url, newWindow=True)["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, target, session)
        here = f"location.href.startsWith({json.dumps(url)})"
        page.wait_for(f"{here} && document.readyState === 'complete'")
        return page


class Page:
    """A page that is open."""

    def __init__(self, browser: Chromium, target: str, session: str) -> None:
        self._browser = browser
        self._target = target
        self._session = session

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._browser.ask("Target.closeTarget", targetId=self._target)

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression; of a promise, what it comes to.

        Raises:
            PageError: it threw.
        """
        told = self._browser.ask(
            "Runtime.evaluate",
            self._session,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in told:
            thrown = told["exceptionDetails"].get("exception", {})
            raise PageError(thrown.get("description") or thrown.get("value"))
        return told["result"].get("value")

    def call(self, function: str, *arguments: Any) -> Any:
        """Call one of the page's functions."""
        return self.run(f"{function}({', '.join(map(json.dumps, arguments))})")

    def wait_for(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + SECONDS
        while not self.run(expression):
            assert time.monotonic() < end, f"{expression} did not become true"
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """Click on the middle of an element, with the mouse."""
        x, y = self.run(
            f"(() => {{ const box = document.querySelector({json.dumps(selector)})"
            ".getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._browser.ask(
                "Input.dispatchMouseEvent",
                self._session,
                type=kind,
                x=x,
                y=y,
                button="left",
                clickCount=1,
            )

    def write(self, text: str) -> None:
        """Type a text where the cursor is."""
        self._browser.ask("Input.insertText", self._session, text=text)

    def press(self, key: str) -> None:
        """Press a key, such as `Tab` or `Enter`."""
        code, text = {"Tab": (9, ""), "Enter": (13, "\r")}[key]
        for kind in ("keyDown", "keyUp"):
            self._browser.ask(
                "Input.dispatchKeyEvent",
                self._session,
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                text=text if kind == "keyDown" else "",
            )

    def trust_every_certificate(self) -> None:
        """Open pages over TLS whose authority the browser does not know."""
        self._browser.ask("Security.setIgnoreCertificateErrors", self._session, ignore=True)

    def go(self, url: str) -> None:
        """Open another page in this window."""
        self.run("window.isOld = true")
        self._browser.ask("Page.navigate", self._session, url=url)
        self.wait_for("!window.isOld && document.readyState === 'complete'")

    def resize(self, width: int, height: int) -> None:
        """Make the window this large, in CSS pixels."""
        self._browser.ask(
            "Emulation.setDeviceMetricsOverride",
            self._session,
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def prefer(self, scheme: str) -> None:
        """Prefer a `light` or a `dark` page."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._browser.ask("Emulation.setEmulatedMedia", self._session, features=[feature])
