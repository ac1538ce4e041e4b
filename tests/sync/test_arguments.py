"""Arguments of the synchronous client that are not valid, and what its timeouts say."""

import socket
from typing import Any

import pytest

import vespiary
from vespiary import sync


@pytest.mark.parametrize("timeout", ["x", -1, float("nan"), True, [], b"1"])
def test_a_timeout_that_is_not_a_number_is_an_error_of_connect(timeout: Any) -> None:
    with pytest.raises(vespiary.ConfigurationError, match="timeout must be a number of seconds"):
        sync.connect("ws://127.0.0.1:9", timeout=timeout)


def test_a_timeout_of_connect_names_the_url() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"ws://127.0.0.1:{port}/room"
        with pytest.raises(TimeoutError, match=rf"cannot connect to {url}: .* within 0\.05 s"):
            sync.connect(f"ws://user:secret@127.0.0.1:{port}/room", timeout=0.05)


def test_the_methods_check_their_timeout_and_the_end_names_the_peer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connection = sync.connect(f"tcp://127.0.0.1:{port}")
        peer, _ = server.accept()
        wrong: Any = "x"
        for use in (
            lambda: connection.receive(timeout=wrong),
            lambda: connection.wait_closed(timeout=wrong),
            lambda: connection.send_end(timeout=wrong),
            lambda: connection.send(b"x", timeout=wrong),
        ):
            with pytest.raises(vespiary.ConfigurationError, match="timeout must be"):
                use()
        peer.close()
        with pytest.raises(vespiary.ConnectionClosed, match=f"127.0.0.1:{port}") as caught:
            connection.receive(timeout=20)
        assert caught.value.address == f"127.0.0.1:{port}"
        connection.close()


@pytest.mark.parametrize(("written", "meant"), [("timeot", "timeout"), ("part", "parts")])
def test_a_misspelt_argument_of_connect_suggests_its_own_too(written: str, meant: str) -> None:
    options: dict[str, Any] = {written: 1}
    with pytest.raises(vespiary.ConfigurationError, match=f"did you mean '{meant}'"):
        vespiary.sync.connect("ws://127.0.0.1:1", **options)


def test_connect_refuses_to_block_a_loop_of_its_own_thread() -> None:
    async def main() -> None:
        sync.connect("ws://127.0.0.1:1")

    with pytest.raises(RuntimeError, match=r"await vespiary\.connect"):
        vespiary.run(main())
