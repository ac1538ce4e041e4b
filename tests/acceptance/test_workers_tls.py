"""Certificates and session tickets of a server in several processes."""

import os
import signal
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.acceptance.test_workers import SECONDS, Program
from tests.api.certificates import Certificates
from tests.waiting import wait_until

pytestmark = pytest.mark.acceptance

PROGRAM = Path(__file__).with_name("tls_worker_program.py")


@dataclass
class Answer:
    """What a connection has seen."""

    worker: int
    is_resumed: bool
    certificate: bytes
    session: ssl.SSLSession | None


class Talk:
    """A client that reaches any of the workers."""

    def __init__(self, url: str, certificates: Certificates) -> None:
        parts = urlsplit(url)
        self.address = (parts.hostname, parts.port)
        # Python's sessions of TLS 1.3 are good for one connection.
        self.context = certificates.context(maximum_version=ssl.TLSVersion.TLSv1_2)

    def once(self, session: ssl.SSLSession | None = None) -> Answer:
        with (
            socket.create_connection(self.address, timeout=SECONDS) as plain,
            self.context.wrap_socket(plain, server_hostname="localhost", session=session) as stream,
        ):
            certificate = stream.getpeercert(binary_form=True)
            assert certificate is not None
            stream.sendall(b"who\n")
            worker = int(stream.recv(100))
            return Answer(worker, bool(stream.session_reused), certificate, stream.session)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def program(driver: str, certificates: Certificates) -> Iterator[Program]:
    files = certificates.make("localhost")
    arguments = [str(file) for file in files]
    program = Program(driver, "tls://127.0.0.1:0", 2, {}, program=PROGRAM, arguments=arguments)
    program.wait_serving()
    yield program
    program.end()


def kill(program: Program, worker: int) -> None:
    """Kill a worker, and wait for the next one in its place."""
    os.kill(program.pids()[worker], signal.SIGKILL)
    program.wait_for(rf"Worker {worker} is back")


def test_a_session_is_resumed_in_every_worker_also_in_one_that_started_later(
    program: Program, certificates: Certificates
) -> None:
    talk = Talk(program.url, certificates)
    first = talk.once()
    assert not first.is_resumed

    def is_resumed_in(worker: int) -> bool:
        answer = talk.once(first.session)
        assert answer.is_resumed, program.output
        return answer.worker == worker

    for worker in (1, 2):
        wait_until(partial(is_resumed_in, worker))
    kill(program, 1)
    wait_until(partial(is_resumed_in, 1))


def test_sighup_to_the_supervisor_renews_the_certificate_of_every_worker_and_of_later_ones(
    program: Program, certificates: Certificates
) -> None:
    talk = Talk(program.url, certificates)
    old = talk.once().certificate
    certificates.make("localhost")
    program.process.send_signal(signal.SIGHUP)

    def is_renewed_in(worker: int) -> bool:
        answer = talk.once()
        return answer.worker == worker and answer.certificate != old

    for worker in (1, 2):
        wait_until(partial(is_renewed_in, worker), lambda: program.output)
    kill(program, 2)
    seen: set[int] = set()

    def all_have_answered() -> bool:
        answer = talk.once()
        assert answer.certificate != old
        seen.add(answer.worker)
        return seen == {1, 2}

    wait_until(all_have_answered)
