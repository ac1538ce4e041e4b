"""What would have no effect on an endpoint for datagrams, or only on one, is an error."""

from typing import Any

import pytest

import vespiary
from vespiary import ConfigurationError, Datagram, Handler, Server

UDP = "udp://127.0.0.1:0"


class Echo(Handler):
    def on_datagram(self, datagram: Datagram) -> None:
        datagram.reply(datagram.data)


async def stream_echo(connection: vespiary.Connection) -> None:
    async for message in connection:
        connection.send(message)


@pytest.mark.parametrize(
    ("url", "options", "text"),
    [
        (UDP, {"framing": "line"}, r"framing= is for streams, such as tcp://"),
        (UDP, {"slow_consumer": "wait"}, r"slow_consumer= is for streams"),
        (UDP, {"executor": "threads"}, r"executor= is for streams"),
        (UDP, {"backlog": 5}, r"backlog= is for streams"),
        (UDP, {"mode": 0o600}, r"mode= is only for Unix sockets"),
        ("unixgram:///tmp/x", {"broadcast": True}, r"broadcast= is for udp://"),
        ("unixgram:///tmp/x", {"multicast_groups": []}, r"multicast_groups= is for udp://"),
        ("tcp://127.0.0.1:0", {"packet_info": True}, r"packet_info= is for datagrams: udp://"),
        (UDP, {"packet_inf": True}, r"did you mean 'packet_info'"),
        (UDP, {"packet_info": 1}, r"packet_info= takes True or False"),
        (UDP, {"receive_buffer_bytes": 0}, r"receive_buffer_bytes= takes a whole number"),
        (UDP, {"multicast_groups": "239.1.2.3"}, r"takes a list of addresses"),
        (UDP, {"multicast_groups": ["10.0.0.1"]}, r"not the address of a multicast group"),
        (UDP, {"multicast_groups": ["ff02::1"]}, r"which is of IPv6: bind it to \[::\]"),
        (UDP, {"multicast_groups": ["239.1.2.3%nope0"]}, r"no network interface 'nope0'"),
    ],
)
async def test_an_option_that_would_have_no_effect_is_an_error(
    url: str, options: dict[str, Any], text: str
) -> None:
    handler: Any = Echo() if not url.startswith("tcp") else stream_echo
    with pytest.raises(ConfigurationError, match=text):
        Server().add(handler, url, **options)


class Misspelt(Handler):
    def on_datagramm(self, datagram: Datagram) -> None: ...


class Packets(Handler):
    def on_packet(self, datagram: Datagram) -> None: ...


class Messages(Handler):
    def on_message(self, connection: vespiary.Connection, message: bytes) -> None: ...


class Parameters(Handler):
    def on_datagram(self, data: bytes, peer: object) -> None: ...  # type: ignore[override]


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (Misspelt, r"did you mean 'on_datagram'"),
        (Packets, r"it is on_datagram"),
        (Messages, r"define on_datagram\(self, datagram\) instead of on_message"),
        (Handler, r"define on_datagram\(self, datagram\)"),
        (Parameters, r"is called with \(datagram\)"),
    ],
)
async def test_a_handler_that_would_never_be_called_is_an_error(handler: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        Server().add(handler, UDP)
