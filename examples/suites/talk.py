"""A client for suites: it says lines to a server, and checks the answers.

    talk.py [--seconds S] [--connections N] [--ca FILE [--cert FILE --key FILE]] URL STEP...

URL is ws:// or wss://, tcp:// or tls:// (lines), udp://, or http:// (then there is no connection,
only `!` steps). All steps are done again, on new connections, until the seconds are over. A step is
one of

    >TEXT    send a text; %n in it is a number that grows
    >#N      send N bytes as one message
    <REGEX   receive: it has to match
    ~REGEX   receive until something matches
    <#N      receive a message of N bytes
    !METHOD URL [BODY]   send an HTTP request; < and ~ are then about status, headers and body.
             Its cookies are sent by everything that follows.
    .        the server has to close the connection
"""

import argparse
import asyncio
import itertools
import re
import socket
import ssl
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

from patience import SECONDS
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from vespiary.prove.memory.work import report_work

numbers = itertools.count(1)


class WebSocket:
    """A WebSocket connection.

    Its event loop runs only while something is sent or received. The client with a thread that
    receives cannot be used: Python 3.11's ssl is not safe if another thread sends meanwhile.
    Messages that no step receives are read nevertheless, or the close frame behind them is not.
    """

    def __init__(self, url: str, headers: dict[str, str], tls: ssl.SSLContext | None) -> None:
        self.runner = asyncio.Runner()

        async def opened() -> ClientConnection:
            return await connect(
                url, additional_headers=headers, max_size=None, proxy=None, ssl=tls,
                ping_interval=None, open_timeout=SECONDS, max_queue=None,
            )  # fmt: skip

        self.connection = self.runner.run(opened())

    def send(self, message: str | bytes) -> None:
        """Send a message."""
        self.runner.run(self.connection.send(message))

    def receive(self) -> str | bytes | None:
        """The next message; None at the end."""
        try:
            return self.runner.run(asyncio.wait_for(self.connection.recv(), SECONDS))
        except ConnectionClosed:
            return None

    def close(self) -> None:
        """End the connection."""
        self.runner.run(self.connection.close())
        self.runner.close()


class Lines:
    """A TCP connection with lines."""

    def __init__(self, url: str, headers: dict[str, str], tls: ssl.SSLContext | None) -> None:
        del headers
        parts = urlsplit(url)
        host = parts.hostname or ""
        assert parts.port is not None
        self.socket = socket.create_connection((host, parts.port), SECONDS)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=host)
        self.file = self.socket.makefile("rb")

    def send(self, message: str | bytes) -> None:
        """Send a line."""
        line = message.encode() if isinstance(message, str) else message
        self.socket.sendall(line + b"\r\n")

    def receive(self) -> str | bytes | None:
        """The next line without its end; None at the end."""
        try:
            line = self.file.readline()
        except ConnectionResetError:
            return None
        return line.rstrip(b"\r\n") if line else None

    def close(self) -> None:
        """End the connection."""
        self.file.close()
        self.socket.close()


class Datagrams:
    """A UDP socket that talks to one address. What was sent is sent again while nothing comes."""

    def __init__(self, url: str, headers: dict[str, str], tls: ssl.SSLContext | None) -> None:
        del headers, tls
        parts = urlsplit(url)
        assert parts.port is not None
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((parts.hostname, parts.port))
        self.socket.settimeout(1)
        self.sent = b""

    def send(self, message: str | bytes) -> None:
        """Send a datagram."""
        self.sent = message.encode() if isinstance(message, str) else message
        self.socket.send(self.sent)

    def receive(self) -> str | bytes | None:
        """The next datagram; None when none comes."""
        for _ in range(int(SECONDS)):
            try:
                return self.socket.recv(1 << 16)
            except (TimeoutError, ConnectionRefusedError):
                self.socket.send(self.sent)
        return None

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


class Talk:
    """All steps, once."""

    def __init__(self, url: str, tls: ssl.SSLContext | None) -> None:
        self.url = url
        self.tls = tls
        self.cookies = CookieJar()
        self.connection: WebSocket | Lines | Datagrams | None = None
        self.answer: str | None = None

    def connected(self) -> WebSocket | Lines | Datagrams:
        """The connection, which is made when it is needed first."""
        if self.connection is None:
            cookies = "; ".join(f"{each.name}={each.value}" for each in self.cookies)
            headers = {"Cookie": cookies} if cookies else {}
            kind: type[WebSocket | Lines | Datagrams] = Lines
            if self.url.startswith(("ws", "udp")):
                kind = WebSocket if self.url.startswith("ws") else Datagrams
            self.connection = kind(self.url, headers, self.tls)
        return self.connection

    def receive(self) -> str | bytes | None:
        """What comes next: the answer to a request, or a message."""
        if self.answer is not None:
            answer, self.answer = self.answer, None
            return answer
        return self.connected().receive()

    def do(self, step: str) -> None:
        """Do a step."""
        kind, words = step[0], step[1:].replace("%n", str(next(numbers)))
        match kind:
            case ">" if words.startswith("#"):
                self.connected().send(b"x" * int(words[1:]))
            case ">":
                self.connected().send(words)
            case "<" if words.startswith("#"):
                message = self.receive()
                check(step, message is not None and len(message) == int(words[1:]), message)
            case "<":
                message = self.receive()
                check(step, is_match(words, message), message)
            case "~":
                while not is_match(words, message := self.receive()):
                    check(step, message is not None, message)
            case "!":
                self.answer = self.request(*words.split(" ", 2))
            case ".":
                message = self.receive()
                check(step, message is None, message)
            case _:
                sys.exit(f"{step!r} is not a step")
        report_work()

    def request(self, method: str, url: str, body: str = "") -> str:
        """Send a request; its answer as text."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        request = urllib.request.Request(
            parts._replace(netloc=host).geturl(), body.encode() or None, method=method
        )
        if parts.username is not None:
            user = f"{parts.username}:{unquote(parts.password or '')}".encode()
            request.add_header("Authorization", f"Basic {b64encode(user).decode()}")
        handlers = [urllib.request.HTTPCookieProcessor(self.cookies)]
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=SECONDS) as answer:
                return f"{answer.status}\n{answer.headers}{answer.read().decode()}"
        except HTTPError as error:
            return f"{error.code}\n{error.headers}{error.read().decode()}"

    def close(self) -> None:
        """End the connection."""
        if self.connection is not None:
            self.connection.close()


def is_match(pattern: str, message: str | bytes | None) -> bool:
    """Whether there is a message, and it matches."""
    if message is None:
        return False
    text = message if isinstance(message, str) else message.decode(errors="replace")
    return re.search(pattern, text) is not None


def check(step: str, is_right: bool, message: object) -> None:
    """Fail if the step is not as it should be."""
    if not is_right:
        raise AssertionError(f"at {step!r} came {str(message)[:300]!r}")


def rounds(seconds: float) -> Iterator[int]:
    """Numbers until the time is over; one at least."""
    deadline = time.monotonic() + seconds
    for number in itertools.count():
        if number and time.monotonic() >= deadline:
            return
        yield number


def use(url: str, steps: list[str], seconds: float, tls: ssl.SSLContext | None) -> int:
    """Do all steps again and again; how often."""
    count = 0
    for _ in rounds(seconds):
        talk = Talk(url, tls)
        try:
            for step in steps:
                talk.do(step)
        finally:
            talk.close()
        count += 1
    return count


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--connections", type=int, default=1)
    for option in ("--ca", "--cert", "--key"):
        parser.add_argument(option)
    parser.add_argument("url")
    parser.add_argument("steps", nargs="+")
    asked = parser.parse_args()
    tls = None
    url: str = asked.url
    if urlsplit(url).scheme in ("wss", "tls"):
        tls = ssl.create_default_context(cafile=asked.ca)
        if asked.cert is not None:
            tls.load_cert_chain(asked.cert, asked.key)
    with ThreadPoolExecutor(asked.connections) as pool:
        running = [
            pool.submit(use, asked.url, asked.steps, asked.seconds, tls)
            for _ in range(asked.connections)
        ]
        print(f"{sum(each.result() for each in running)} talks were as expected")


if __name__ == "__main__":
    main()
