"""Handlers that raise: 1011, one traceback in the log, and nobody else is disturbed."""

import re

import pytest

from tests.acceptance.hostile.conftest import Serve
from tests.acceptance.hostile.peer import CLOSE, REQUEST, TEXT, frame
from tests.acceptance.hostile.server_process import MEBIBYTE

pytestmark = pytest.mark.acceptance

ECHO = {"url": "ws://127.0.0.1:0", "handler": "echo"}
HANDLERS = {"fail": "in on_message", "fail_later": "in a coroutine"}


def failures(log: str, where: str) -> int:
    """Count the failures that the log has with their whole traceback."""
    head = r"ERROR Handler failed, [^\n]*\nTraceback \(most recent call last\):\n"
    pattern = rf"{head}(?:  [^\n]*\n)+RuntimeError: as asked, {where}\n"
    return len(re.findall(pattern, log))


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_failing_websocket_handler_closes_with_1011_and_disturbs_nobody(
    serve: Serve, handler: str
) -> None:
    server = serve(calm=ECHO, fail={**ECHO, "handler": handler})
    count = 50
    with (
        server.steady("calm", 16 * MEBIBYTE),
        server.connect("fail") as bystander,
        server.many_peers("fail", count) as peers,
    ):
        bystander.upgrade()
        for peer in peers:
            peer.upgrade().send(frame(TEXT, b"fine"))
            peer.send(frame(TEXT, b"fail"))
            peer.send(frame(TEXT, b"never answered"))
            assert peer.read_frame() == (TEXT, b"fine")
            assert peer.close_code() == 1011
            bystander.echo(b"still here")
    told = server.wait_idle("fail")
    assert told["handler_errors"] == count
    assert told["connections_broken"] == count + 1  # The bystander left without a close frame.
    log = server.log()
    assert failures(log, HANDLERS[handler]) == count
    assert log.count("RuntimeError: as asked") == count


@pytest.mark.parametrize("handler", HANDLERS)
def test_the_close_frame_of_a_failing_handler_has_code_1011(serve: Serve, handler: str) -> None:
    server = serve(fail={**ECHO, "handler": handler})
    with server.connect("fail") as peer:
        peer.upgrade().send(frame(TEXT, b"fail"))
        assert peer.close_code() == 1011
        end = peer.answer_close()
    assert not end.before
    assert failures(server.log(), HANDLERS[handler]) == 1


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_failing_stream_handler_ends_its_connection_and_no_other(
    serve: Serve, handler: str
) -> None:
    handlers = {"fail": "fail_in_stream"}
    endpoint = {"url": "tcp://127.0.0.1:0", "framing": "line"}
    server = serve(fail={**endpoint, "handler": handlers.get(handler, handler)})
    with server.connect("fail") as bystander, server.connect("fail") as peer:
        peer.send(b"fine\n")
        assert peer.read(5) == b"fine\n"
        # It is reset: the peer is not to take what it has for complete.
        peer.send(b"fail\nnever answered\n")
        assert peer.end().before == b""
        bystander.send(b"still here\n")
        assert bystander.read(11) == b"still here\n"
    told = server.wait_idle("fail")
    assert told["handler_errors"] == 1
    assert failures(server.log(), HANDLERS[handler]) == 1


def test_a_failure_in_on_request_is_answered_with_500(serve: Serve) -> None:
    server = serve(fail={**ECHO, "handler": "fail"})
    with server.connect("fail") as peer:
        peer.send(REQUEST % b"/fail-in-request")
        end = peer.end()
    assert end.status == 500
    assert b"as asked" not in end.before, "the client need not know what went wrong inside"
    told = server.wait_idle("fail")
    assert told["handler_errors"] == 1
    assert told["connections_refused"] == {"status_500": 1}
    assert failures(server.log(), "in on_request") == 1


def test_a_failure_in_on_open_closes_with_1011(serve: Serve) -> None:
    server = serve(fail={**ECHO, "handler": "fail"})
    with server.connect("fail") as peer:
        assert peer.upgrade("/fail-in-open").close_code() == 1011
    assert server.wait_idle("fail")["handler_errors"] == 1
    assert failures(server.log(), "in on_open") == 1


def test_a_failure_in_on_close_is_logged_and_nothing_else(serve: Serve) -> None:
    server = serve(fail={**ECHO, "handler": "fail"})
    with server.connect("fail") as peer:
        peer.upgrade("/fail-in-close").send(frame(CLOSE, b"\x03\xe8"))
        assert peer.close_code() == 1000
        peer.end()
    told = server.wait_idle("fail")
    assert told["handler_errors"] == 1
    assert told["connections_broken"] == 0
    assert failures(server.log(), "in on_close") == 1
