"""Chromium over TLS: a page by `https://`, and a WebSocket by `wss://`."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.certificates import Certificates
from tests.browser.chromium import Chromium
from tests.browser.conftest import CHECKOUT

pytestmark = pytest.mark.acceptance

ASK = """
new Promise((resolve, reject) => {
  const socket = new WebSocket(location.href.replace("https:", "wss:"));
  socket.onmessage = (event) => { resolve(event.data); socket.close(); };
  socket.onerror = () => reject("the WebSocket failed");
})
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The address of a server that says what it knows about TLS."""
    files = Certificates(tmp_path).make("127.0.0.1")
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.browser.tls_server", *map(str, files)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().replace("wss:", "https:", 1)
        finally:
            process.terminate()
            assert process.wait(10) == 0


def test_a_page_and_its_websocket_use_the_newest_tls_and_resume_its_session(
    chromium: Chromium, url: str
) -> None:
    with chromium.open("about:blank") as page:
        page.trust_every_certificate()
        page.go(url)
        first = json.loads(page.run("document.body.textContent"))
        others = [json.loads(page.run(ASK)) for _ in range(2)]
    common = {
        "version": "TLSv1.3",
        "cipher": "TLS_AES_128_GCM_SHA256",
        "group": "X25519MLKEM768",
        "alpn": "http/1.1",
    }

    def known(resumed: bool) -> dict[str, Any]:
        return {**common, "resumed": resumed}

    assert first == known(resumed=False)
    assert others == [known(resumed=True)] * 2
