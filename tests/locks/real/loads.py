"""Bounded loads for real servers: several connections at once, each until the time is over."""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

CONNECTIONS = 6
TIMEOUT_SECONDS = 20.0


def in_threads(body: Callable[[int, Callable[[], bool]], int], seconds: float) -> int:
    """Run a body in several threads; it is given its number and whether it is to go on.

    Each gives how many answers it got; the sum comes back, and the first error is raised.
    """
    end = time.monotonic() + seconds
    counts: list[int] = []
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            counts.append(body(number, lambda: time.monotonic() < end))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return sum(counts)


class Line:
    """A connection whose answers are lines and counted bytes."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def line(self) -> bytes:
        line = self._file.readline()
        assert line.endswith(b"\n"), "the server closed the connection"
        return line.rstrip()

    def read(self, count: int) -> bytes:
        return self._file.read(count)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def memcached(port: int, seconds: float) -> int:
    """Set, get, count, delete; values of many sizes, more than there is memory for; statistics."""

    def body(number: int, goes_on: Callable[[], bool]) -> int:
        chance, count = random.Random(number), 0
        while goes_on():
            with closing(Line(port)) as line:
                for _ in range(200):
                    key = b"key%d" % chance.randrange(20_000)
                    value = b"x" * chance.choice([10, 100, 3_000, 100_000])
                    line.send(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
                    assert line.line() in (b"STORED", b"SERVER_ERROR out of memory storing object")
                    line.send(b"get %s\r\ndelete key%d\r\n" % (key, chance.randrange(20_000)))
                    while (answer := line.line()) != b"END":
                        if answer.startswith(b"VALUE"):
                            line.read(int(answer.split()[3]) + 2)
                    assert line.line() in (b"DELETED", b"NOT_FOUND")
                    count += 3
                for what in (b"", b" items", b" slabs", b" settings"):
                    line.send(b"stats%s\r\n" % what)
                    while line.line() != b"END":
                        pass
                if number == 0:
                    line.send(b"flush_all\r\nlru_crawler crawl all\r\n")
                    assert line.line() == b"OK"
                    line.line()
        return count

    return in_threads(body, seconds)


def _redis_answer(line: Line) -> bytes:
    head = line.line()
    kind, rest = head[:1], head[1:]
    if kind == b"$":
        return line.read(int(rest) + 2)[:-2] if int(rest) >= 0 else b""
    if kind == b"*":
        return b" ".join(_redis_answer(line) for _ in range(max(0, int(rest))))
    # Two kinds of background saves keep each other away.
    assert kind != b"-" or b"in progress" in rest or b"can't BGSAVE" in rest, head
    return rest


def redis(port: int, seconds: float) -> int:
    """Commands in pipelines; saving in the background; large values that threads free."""

    def body(number: int, goes_on: Callable[[], bool]) -> int:
        chance, count = random.Random(number), 0
        while goes_on():
            with closing(Line(port)) as line:
                for step in range(20):
                    key = f"{chance.randrange(1000)}"
                    many = " ".join(str(each) for each in range(200))
                    commands = [f"SET k{key} {'x' * 500}", f"GET k{key}", f"INCR c{key}"]
                    commands += [f"LPUSH l{key} {many}", f"UNLINK l{key}", f"ZADD z 1 {key}"]
                    commands += ["PUBLISH news x", 'EVAL "return redis.call([[TIME]])" 0']
                    if number == 0 and step == 0:
                        commands += ["BGSAVE", "BGREWRITEAOF", "INFO", "FLUSHDB ASYNC"]
                    line.send("".join(f"{command}\r\n" for command in commands).encode())
                    for _ in commands:
                        _redis_answer(line)
                    count += len(commands)
        return count

    return in_threads(body, seconds)


def _get(stream: socket.socket, path: str, host: str) -> int | None:
    """Ask for a path over an HTTP/1.1 connection; the answer's status, its body read.

    None when the server has closed the connection instead, as it may.
    """
    with stream.makefile("rb") as file:
        try:
            stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            head = file.readline()
        except ConnectionError:
            return None
        if not head:
            return None
        status = int(head.split()[1])
        length, chunked = 0, False
        while (line := file.readline().strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            chunked = chunked or line == b"transfer-encoding: chunked"
        if not chunked:
            assert len(file.read(length)) == length
            return status
        while size := int(file.readline(), 16):
            file.read(size + 2)
        file.readline()
    return status


def _connections(port: int, secure: bool) -> Iterator[socket.socket]:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    while True:
        plain = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
        yield context.wrap_socket(plain) if secure else plain


def http(
    port: int,
    seconds: float,
    paths: list[str],
    *,
    secure_port: int | None = None,
    patient: bool = False,
) -> int:
    """GET over kept connections, a third of them over TLS where there is a port for it.

    With `patient` it goes on where a server ends connections at any time, as one does whose
    workers are restarted.
    """

    def body(number: int, goes_on: Callable[[], bool]) -> int:
        chance, count = random.Random(number), 0
        secure = secure_port is not None and number % 3 == 0
        for stream in _connections(secure_port or port if secure else port, secure):
            with stream:
                for _ in range(50):
                    path = chance.choice(paths).replace("?", f"?{chance.randrange(1_000_000)}")
                    try:
                        status = _get(stream, path, "localhost")
                    except (ConnectionError, IndexError):
                        if not patient:
                            raise
                        break
                    if status is None:
                        break
                    assert status in (200, 404, 503), status
                    count += 1
            if not goes_on():
                break
        return count

    return in_threads(body, seconds)


def dns(port: int, seconds: float) -> int:
    """Questions for names of a local zone and for some that are not there (RFC 1035)."""

    def body(number: int, goes_on: Callable[[], bool]) -> int:
        chance, count = random.Random(number), 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
            stream.settimeout(TIMEOUT_SECONDS)
            stream.connect(("127.0.0.1", port))
            while goes_on():
                name = f"host{chance.randrange(200)}.example"
                labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
                head = chance.randrange(65536).to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0"
                stream.send(head + labels + b"\0\0\1\0\1")
                assert stream.recv(2000)[:2] == head[:2]
                count += 1
        return count

    return in_threads(body, seconds)
