"""The options of clients: proxies of the environment, header fields, and what is not valid."""

from typing import Any

import pytest

import vespiary
from vespiary._header_lines import header_lines
from vespiary._proxies import Proxy, environment_proxy
from vespiary.endpoint import Endpoint

SERVER = Endpoint.parse("ws://a.example:8080/")


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, None),
        ({"http_proxy": "http://p:1"}, "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, None),
        ({"http_proxy": "http://p:1", "HTTPS_PROXY": "http://q:2"}, "http://q:2"),
        ({"ALL_PROXY": "q"}, "http://q:80"),
        ({"ALL_PROXY": "q:3128", "https_proxy": ""}, "http://q:3128"),
        ({"ALL_PROXY": "http://u:p@[::1]:9"}, "http://[::1]:9"),
    ],
)
def test_the_environments_proxy(variables: dict[str, str], proxy: str | None) -> None:
    found = environment_proxy(SERVER, variables)
    assert (None if found is None else str(found)) == proxy


@pytest.mark.parametrize(
    ("url", "exceptions", "is_exempt"),
    [
        ("ws://a.example", "", False),
        ("ws://a.example", "*", True),
        ("ws://a.example", "b.example, a.example", True),
        ("ws://a.example", "example", True),
        ("ws://a.example", ".example", True),
        ("ws://a.example", "*.example", True),
        ("ws://a.example", "xample", False),
        ("ws://a.example:81", "a.example:81", True),
        ("ws://a.example:82", "a.example:81", False),
        ("ws://10.1.2.3", "10.0.0.0/8", True),
        ("ws://10.1.2.3", "10.1.2.3", True),
        ("ws://10.1.2.3:5", "10.1.2.3:6", False),
        ("ws://11.1.2.3", "10.0.0.0/8", False),
        ("ws://[fe80::1]", "fe80::/10", True),
        ("ws://[2001:db8::1]:5", "[2001:db8::1]:5", True),
        ("ws://[2001:db8::1]", "2001:db8::1", True),
        ("ws://localhost:1", "", True),
        ("ws://127.0.0.9:1", "", True),
        ("ws://[::1]:1", "", True),
        ("tcp://a.example:1", "", True),
        ("unix:///run/x.sock", "", True),
    ],
)
def test_what_is_reached_without_the_environments_proxy(
    url: str, exceptions: str, is_exempt: bool
) -> None:
    variables = {"all_proxy": "http://p:1", "NO_PROXY": exceptions}
    assert (environment_proxy(Endpoint.parse(url), variables) is None) == is_exempt


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("socks5://user:secret@p:1", "SOCKS proxies are not supported"),
        ("SOCKS4a://p:1", "SOCKS"),
        ("https://user:secret@p:1", "TLS to a proxy"),
        ("ftp://p:1", "not http"),
        ("http://", "valid host and port"),
        ("http://p:x", "valid host and port"),
        ("http://p:1/path", "no path"),
        ("http://a%3Ab:secret@p:1", "cannot be sent"),
        ("http://user:secret@p q:1", "valid host and port"),
        (3128, "not a URL"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_an_error_without_the_password(url: Any, why: str) -> None:
    with pytest.raises(vespiary.ConfigurationError, match=why) as raised:
        vespiary.connect("ws://a.example", proxy=url)
    assert "secret" not in str(raised.value)
    assert raised.value.subject == "proxy"


def test_an_unusable_proxy_of_the_environment_names_its_variable() -> None:
    with pytest.raises(vespiary.ConfigurationError, match="environment's all_proxy"):
        environment_proxy(SERVER, {"all_proxy": "socks5h://p:1"})


def test_a_tunnel_leads_to_host_and_port() -> None:
    tunnel = Proxy("p", 1).tunnel(Endpoint.parse("ws://[fe80::1%25eth0]/x"))
    assert tunnel == ("[fe80::1]:80", [])


def test_header_fields_are_a_mapping_or_pairs() -> None:
    assert header_lines({"ab": "y"}) == (("ab", "y"),)
    fields: Any = [("a", "b"), ["a", "c"]]
    assert header_lines(fields) == (("a", "b"), ("a", "c"))
    assert header_lines(()) == ()


@pytest.mark.parametrize("fields", ["ab", b"ab", ["ab"], {"a": 1}, [("a",)], 5, [("a", b"b")]])
def test_header_fields_of_another_type_are_an_error(fields: Any) -> None:
    with pytest.raises(vespiary.ConfigurationError, match="takes"):
        header_lines(fields)
    with pytest.raises(vespiary.ConfigurationError):
        vespiary.connect("ws://a.example", headers=fields)
    with pytest.raises(vespiary.ConfigurationError):
        vespiary.WebSocket(headers=fields)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hedaers": {}}, "did you mean 'headers'?"),
        ({"simultaneous_handshakes": True}, "there are framing"),
        ({"deadline": None}, "did you mean 'deadlines'?"),
        ({"limits": {"message_bytes_max": 5}}, "limits= takes a Limits or None"),
        ({"deadlines": 5}, "deadlines= takes a Deadlines"),
        ({"websocket": True}, "websocket= takes a WebSocket"),
        ({"reconnect": True}, "reconnect= takes a Backoff"),
        ({"source": ("1.2.3.4", 5)}, "source= takes a str"),
        ({"half_close": "yes"}, "half_close= takes True or False"),
        ({"redirects_max": "3"}, "redirects_max= takes a whole number"),
        ({"redirects_max": None}, "redirects_max= takes a whole number"),
        ({"handshakes_per_address_max": 0}, "at least 1"),
        ({"handshakes_per_address_max": True}, "at least 1"),
        ({"subprotocols": "chat"}, "a list of names"),
        ({"filters": "x"}, "a list of Filter"),
        ({"slow_consumer": "drop"}, "slow_consumer is one of"),
    ],
)
@pytest.mark.parametrize("connect", [vespiary.connect, vespiary.sync.connect])
def test_an_option_that_is_not_valid_is_an_error_that_helps(
    connect: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(vespiary.ConfigurationError) as raised:
        connect("ws://a.example", **options)
    assert words in str(raised.value)
