"""The chat example as two people use it: two windows of a browser, clicked and typed into."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.browser.chromium import Chromium, Page
from tests.browser.conftest import CHECKOUT

pytestmark = pytest.mark.acceptance

ANY = "ws://127.0.0.1:0/"


@pytest.fixture
def chat() -> Iterator[str]:
    """The address of the example's page."""
    with subprocess.Popen(
        [sys.executable, "-u", "examples/websocket_chat", ANY, ANY],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            found = re.match(r"Chat page:  (\S+)", process.stdout.readline())
            assert found, "the example does not serve"
            yield found[1]
        finally:
            process.terminate()
            assert process.wait(10) == 0


def name(page: Page, text: str) -> None:
    """Take a name, as somebody does who clicks into the field and leaves it again."""
    page.click("#name")
    page.run("document.activeElement.select()")
    page.write(text)
    page.click("#text")
    page.wait_for(f"document.querySelector('#people').textContent.includes('{text} (you)')")


def say(page: Page, text: str) -> None:
    """Write a message and press the button."""
    page.click("#text")
    page.write(text)
    page.click("#speak button")


def lines(page: Page) -> list[str]:
    """What has been said, as the page shows it."""
    said: list[str] = page.run(
        "[...document.querySelectorAll('#log .said')].map((it) => "
        "it.querySelector('b').textContent + ': ' + it.childNodes[1].textContent)"
    )
    return said


def wait_for_lines(page: Page, count: int) -> None:
    """Wait until so many messages are shown."""
    page.wait_for(f"document.querySelectorAll('#log .said').length === {count}")


def test_two_windows_talk_to_each_other(chromium: Chromium, chat: str) -> None:
    with chromium.open(chat) as ann, chromium.open(chat) as bob:
        for page in (ann, bob):
            page.wait_for("document.querySelector('#state').className === 'on'")
        name(ann, "Ann")
        name(bob, "Bob")
        say(ann, "Grüße, <b>Bob</b> 🐝")
        wait_for_lines(bob, 1)
        say(bob, "Grüße zurück")
        talk = ["Ann: Grüße, <b>Bob</b> 🐝", "Bob: Grüße zurück"]
        for page in (ann, bob):
            wait_for_lines(page, 2)
            assert lines(page) == talk
        # Another room hears nothing of it, and the first one's history is there on return.
        bob.click("#rooms button:nth-child(2)")
        wait_for_lines(bob, 0)
        say(ann, "Bob?")
        wait_for_lines(ann, 3)
        assert lines(bob) == []
        bob.click("#rooms button:nth-child(1)")
        wait_for_lines(bob, 3)
        assert lines(bob) == [*talk, "Ann: Bob?"]


def test_the_page_talks_to_the_echo_too(chromium: Chromium, chat: str) -> None:
    with chromium.open(chat) as page:
        page.click("#echo-text")
        page.write("fünf Zeilen")
        page.click("#shout button")
        page.wait_for("document.querySelector('#echoes .in')?.textContent.includes('fünf Zeilen')")
