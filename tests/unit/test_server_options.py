"""The options of an endpoint: what is not valid is an error when the endpoint is added."""

import logging
import re
import socket
from typing import Any

import pytest

import vespiary
from vespiary._option_checks import check_options
from vespiary._other_names import other_options
from vespiary.client_options import ClientOptions
from vespiary.server_options import ServerOptions

WRONG: list[tuple[str, Any, str]] = [
    ("limits", {}, "Limits"),
    ("limits", {"message_bytes_max": 5}, "Limits"),
    ("limits", vespiary.Deadlines(), "Limits"),
    ("limits", vespiary.Limits, "Limits"),
    ("deadlines", 5, "Deadlines"),
    ("deadlines", 0, "Deadlines"),
    ("websocket", {}, "WebSocket"),
    ("websocket", False, "WebSocket"),
    ("filters", 5, "Filter"),
    ("filters", [5], "Filter"),
    ("filters", "", "Filter"),
    ("filters", [vespiary.Filter()], "Filter"),
    ("backlog", -1, "at least 1"),
    ("backlog", 0, "at least 1"),
    ("backlog", True, "at least 1"),
    ("backlog", "10", "at least 1"),
    ("backlog", 1 << 40, "at least 1"),
    ("reuse_port", "no", "True or False"),
    ("reuse_port", None, "True or False"),
    ("host", 5, "str"),
    ("sock", 5, "socket"),
    ("fd", -1, "at least 0"),
    ("fd", False, "at least 0"),
    ("framing", {}, "framing is one of"),
    ("framing", "", "framing is one of"),
    ("slow_consumer", {}, "slow_consumer is one of"),
    ("slow_consumer", None, "slow_consumer is one of"),
    ("executor", {}, "executor"),
    ("mode", -1, "mode"),
]


@pytest.mark.parametrize(("name", "value", "wanted"), WRONG)
def test_a_wrong_value_is_an_error_with_the_name_the_value_and_what_is_expected(
    name: str, value: Any, wanted: str
) -> None:
    async def echo(connection: vespiary.Connection) -> None: ...

    scheme = "unix:///tmp/x.sock" if name == "mode" else "ws://127.0.0.1:0"
    url = "tcp://127.0.0.1:0" if name == "framing" else scheme
    options: Any = {name: value}
    with pytest.raises(vespiary.ConfigurationError) as caught:
        vespiary.Server().add(echo, url, **options)
    text = str(caught.value)
    assert name in text
    assert wanted in text
    assert repr(value) in text
    assert caught.value.subject == name


def test_a_closed_socket_is_an_error() -> None:
    closed = socket.socket()
    closed.close()
    with pytest.raises(vespiary.ConfigurationError, match="sock= takes an open socket"):
        vespiary.Server().add(vespiary.Handler, "ws://127.0.0.1:0", sock=closed)


SERVER, CLIENT = ServerOptions.__annotations__, ClientOptions.__annotations__


@pytest.mark.parametrize(
    ("known", "name", "written"),
    [
        (SERVER, "ping_interval", "Deadlines(ping_interval_seconds="),
        (SERVER, "ping_timeout", "Deadlines(ping_timeout_seconds="),
        (SERVER, "max_size", "Limits(message_bytes_max="),
        (SERVER, "compression", "WebSocket(compression=Compression())"),
        (SERVER, "subprotocols", "websocket=WebSocket(subprotocols="),
        (SERVER, "origins", "websocket=WebSocket(origins="),
        (SERVER, "message_bytes_max", "limits=Limits(message_bytes_max="),
        (SERVER, "idle_seconds", "deadlines=Deadlines(idle_seconds="),
        (SERVER, "threshold_bytes", "Compression(threshold_bytes="),
        (SERVER, "ssl", "write tls= with a ServerTLS"),
        (SERVER, "reload", "vespiary serve --reload"),
        (CLIENT, "ssl", "ClientTLS"),
        (CLIENT, "additional_headers", "headers="),
        (CLIENT, "max_size", "Limits(message_bytes_max="),
        (CLIENT, "open_timeout", "Deadlines(handshake_seconds="),
        (CLIENT, "sock", "this has no 'sock': a client opens its socket itself"),
        (CLIENT, "socket", "source= is the local address"),
        (CLIENT, "local_addr", "write source="),
        (CLIENT, "family", "source="),
        (CLIENT, "server_hostname", "tls=ClientTLS(server_name="),
        (CLIENT, "certfile", "tls=ClientTLS(certificate="),
        (CLIENT, "process_exception", "reconnect=Backoff(is_final="),
        (CLIENT, "compression", "messages are not compressed by default"),
        (CLIENT, "read_limit", "limits=Limits(inbox_bytes_max="),
        (CLIENT, "create_connection", "always have the class vespiary.Connection"),
        (CLIENT, "user_agent_header", 'headers={"User-Agent": ...}'),
        (CLIENT, "uri", "the URL is the first argument"),
        (SERVER, "socket", "write sock="),
        (SERVER, "url", "the URL is the second argument"),
        (CLIENT, "limitz", "did you mean 'limits'"),
        (SERVER, "limitz", "did you mean 'limits'?"),
        (SERVER, "drain_second", "did you mean 'drain_seconds'? It is a field: deadlines="),
        (CLIENT, "message_byte_max", "did you mean 'message_bytes_max'? It is a field: limits="),
        (SERVER, "rate_limit", "filters=[partial(vespiary.filters.RateLimit, received=...)]"),
        (SERVER, "reloads", "did you mean 'reload'? That is an option of the command"),
        (SERVER, "workerz", "did you mean 'workers'? It is an option of vespiary.serve"),
        (SERVER, "sea", "this has no 'sea': there are "),
    ],
)
def test_names_of_other_libraries_are_answered_with_what_to_write(
    known: dict[str, object], name: str, written: str
) -> None:
    with pytest.raises(vespiary.ConfigurationError) as caught:
        check_options({name: 1}, known, "this")
    assert written in str(caught.value)


@pytest.mark.parametrize("known", [SERVER, CLIENT])
def test_no_hint_names_an_option_that_there_is_not(known: dict[str, object]) -> None:
    for name, hint in other_options(known).items():
        for option in re.findall(r"(?:write |^)(\w+)=", hint):
            assert option in known, (name, hint)


def test_a_server_without_endpoints_does_not_run() -> None:
    with pytest.raises(vespiary.ConfigurationError, match="needs an endpoint"):
        vespiary.Server().run()


def test_a_server_without_endpoints_warns_when_it_starts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with vespiary.Server(signals=False):
            pass

    with caplog.at_level(logging.WARNING, "vespiary"):
        vespiary.run(main())
    assert "has no endpoints" in caplog.text
