"""`TestClient`: handlers driven in memory from plain tests."""

import time
from typing import Any

import pytest

import vespiary
import vespiary.testing
from vespiary.testing import TestClient


class Echo(vespiary.Handler[str]):
    def __init__(self) -> None:
        self.reasons: list[vespiary.CloseReason] = []

    def on_message(self, connection: vespiary.Connection[str], message: str) -> None:
        if message == "close":
            connection.close(4000, "as you wish")
        elif message == "goodbye":
            connection.close()
        else:
            connection.send(message)

    def on_close(self, connection: vespiary.Connection[str], reason: vespiary.CloseReason) -> None:
        self.reasons.append(reason)


class Guarded(vespiary.Handler[str]):
    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        if request.path != "/allowed":
            return request.respond(403, "not here")
        return request.accept()

    def on_open(self, connection: vespiary.Connection[str]) -> None:
        connection.send("welcome")


class Web(vespiary.Handler[bytes]):
    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        if request.path == "/hello":
            headers = [("X-Query", request.query)]
            return request.respond(200, f"hello {request.headers['x-name']}", headers)
        return request.respond(404, "nothing here")


def test_a_handler_answers_without_a_socket() -> None:
    with TestClient(Echo()) as client, client.connect() as connection:
        connection.send("hello")
        assert connection.receive() == "hello"


def test_a_timeout_passes_in_virtual_time() -> None:
    began = time.monotonic()
    with TestClient(Echo()) as client, client.connect() as connection:
        with pytest.raises(TimeoutError, match="no message came within 3000 virtual seconds"):
            connection.receive(timeout=3000)
        connection.send("still there")
        assert connection.receive() == "still there"
    assert time.monotonic() - began < 30


def test_a_message_that_comes_after_a_timeout_is_not_lost() -> None:
    class Late(vespiary.Handler[str]):
        def on_open(self, connection: vespiary.Connection[str]) -> None:
            connection.set_timer(10.0, lambda one: one.send("late"))

    with TestClient(Late()) as client, client.connect() as connection:
        with pytest.raises(TimeoutError):
            connection.receive(timeout=5)
        assert connection.receive(timeout=6) == "late"


def test_both_ends_see_how_a_connection_ended() -> None:
    handler = Echo()
    with TestClient(handler) as client:
        connection = client.connect()
        assert connection.close(4001, "enough").code == 4001
        connection = client.connect()
        connection.send("close")
        assert connection.wait_closed().code == 4000
        connection = client.connect()
        connection.abort()
        client.sleep(1)
        assert not connection.is_open
    assert [reason.code for reason in handler.reasons[:2]] == [4001, 4000]
    assert handler.reasons[2].kind == "broken"


def test_iterating_ends_with_the_connection() -> None:
    with TestClient(Echo()) as client, client.connect() as connection:
        for message in ("a", "b", "goodbye"):
            connection.send(message)
        assert list(connection) == ["a", "b"]


def test_paths_and_refusals_of_the_handshake_are_seen() -> None:
    with TestClient(Guarded()) as client:
        with pytest.raises(vespiary.HandshakeRefused) as caught:
            client.connect("/elsewhere")
        assert caught.value.status == 403
        with client.connect("/allowed") as connection:
            assert connection.receive() == "welcome"


def test_a_connection_to_a_url_with_parameters_needs_a_path() -> None:
    with TestClient(Echo(), "ws://127.0.0.1:80/rooms/{room}") as client:
        with pytest.raises(ValueError, match="pass a path, such as '/rooms/room'"):
            client.connect()
        with client.connect("/rooms/7") as connection:
            connection.send("hello")
            assert connection.receive() == "hello"


def test_requests_are_answered_over_http() -> None:
    with TestClient(Web(), "http://127.0.0.1:80") as client:
        response = client.request("GET", "/hello?a=1", headers=[("X-Name", "bee")])
        assert (response.status, response.text) == (200, "hello bee")
        assert response.headers["x-query"] == "a=1"
        assert client.request("HEAD", "/hello", headers=[("X-Name", "bee")]).body == b""
        assert client.request("GET", "/").status == 404


def test_the_headers_of_a_request_are_a_mapping_or_pairs_and_may_name_the_host() -> None:
    class Asked(vespiary.Handler[str]):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            return request.respond(200, f"{request.authority} {request.headers.get('X-Name')}")

    with TestClient(Asked(), "http://127.0.0.1:8080") as client:
        assert client.request("GET", "/", headers={"X-Name": "bee"}).text == "127.0.0.1:8080 bee"
        fields = [("host", "example.com"), ("X-Name", "ant")]
        assert client.request("GET", "/", headers=fields).text == "example.com ant"
        with pytest.raises(vespiary.ConfigurationError, match="a mapping or a list of pairs"):
            client.request("GET", "/", headers="X-Name: bee")  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:5050", "unix:///run/test.sock"])
def test_streams_are_driven_in_memory_too(url: str) -> None:
    async def echo(connection: vespiary.Connection[bytes]) -> None:
        async for message in connection:
            connection.send(message)

    with TestClient(echo, url, framing="line") as client:
        connection = client.connect(framing="line")
        connection.send(b"one")
        assert connection.receive() == b"one"


def test_a_failure_names_the_seed_that_repeats_it() -> None:
    with pytest.raises(AssertionError) as caught, TestClient(Echo(), seed=12, faults="lossless"):
        raise AssertionError("wrong")
    assert "seed=12, faults='lossless'" in caught.value.__notes__[0]


def test_a_server_with_several_endpoints_is_driven_too() -> None:
    server = vespiary.Server()
    server.add(Echo(), "ws://127.0.0.1:81")
    server.add(Web(), "http://127.0.0.1:82")
    with TestClient(server) as client:
        with client.connect() as connection:
            connection.send("x")
            assert connection.receive() == "x"
        assert client.request("GET", "/", url=server.urls[1]).status == 404


def test_in_an_async_test_the_advice_is_to_use_serve() -> None:
    async def main() -> None:
        client = TestClient(Echo())
        with pytest.raises(RuntimeError, match=r"vespiary\.testing\.serve"):
            client.__enter__()

    vespiary.testing.run(main())


def test_handlers_on_threads_are_waited_for() -> None:
    class Blocking(vespiary.Handler[str]):
        def on_message(self, connection: vespiary.Connection[str], message: str) -> None:
            time.sleep(0.05)
            connection.send(message)

    with TestClient(Blocking(), executor="threads") as client, client.connect() as connection:
        for _ in range(5):
            connection.send("hello")
            assert connection.receive(timeout=20) == "hello"


def test_a_client_in_its_own_block_again_is_refused_and_continues() -> None:
    client = TestClient(Echo())
    with client:
        with pytest.raises(RuntimeError, match="already in use"), client:
            pass
        with client.connect() as connection:
            connection.send("hello")
            assert connection.receive() == "hello"
    with client:
        pass


@pytest.mark.parametrize("framing", ["line", "crlf", "length"])
def test_connect_takes_the_framing_of_the_endpoint(framing: Any) -> None:
    class Lines(vespiary.Handler[bytes]):
        def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
            connection.send(message)

    async def main() -> None:
        async with vespiary.testing.serve(Lines, "tcp", framing=framing) as server:
            async with server.connect() as connection:
                connection.send("one")
                connection.send("two")
                assert [await connection.receive(), await connection.receive()] == [b"one", b"two"]
            async with server.connect(framing="raw") as raw:
                raw.send(b"\n")

    with TestClient(Lines, "tcp://127.0.0.1:7", framing=framing) as client:
        with client.connect() as connection:
            connection.send("one")
            connection.send("two")
            assert [connection.receive(), connection.receive()] == [b"one", b"two"]
        with client.connect(framing="raw") as raw:
            raw.send(b"\n")
    vespiary.run(main())


def test_connect_takes_the_framing_of_the_endpoint_that_it_is_given() -> None:
    server = vespiary.Server()
    server.add(Echo, "ws://127.0.0.1:80")
    server.add(Echo, "tcp://127.0.0.1:7", framing="line")
    with TestClient(server) as client, client.connect(url="tcp://127.0.0.1:7") as connection:
        connection.send("hello")
        assert connection.receive() == b"hello"
