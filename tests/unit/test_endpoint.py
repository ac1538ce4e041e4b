from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vespiary.endpoint import Endpoint
from vespiary.errors import EndpointError


@pytest.mark.requirement(
    "rfc6455/3/1", "rfc6455/3/h1", "rfc6455/3/h2", "rfc6455/11.1.1/1", "rfc6455/11.1.2/1"
)
@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("tcp://127.0.0.1:5050", Endpoint("tcp", "127.0.0.1", 5050)),
        ("tcp://127.0.0.1:5050/", Endpoint("tcp", "127.0.0.1", 5050)),
        ("tcp://[::1]:0", Endpoint("tcp", "::1", 0)),
        ("TCP://LocalHost:1", Endpoint("tcp", "localhost", 1)),
        ("ws://127.0.0.1:9001", Endpoint("ws", "127.0.0.1", 9001, target="/")),
        ("ws://example.org", Endpoint("ws", "example.org", 80, target="/")),
        ("ws://[2001:db8::5]/a?b=c", Endpoint("ws", "2001:db8::5", 80, target="/a?b=c")),
        ("ws://h:1?q", Endpoint("ws", "h", 1, target="/?q")),
        ("http://0.0.0.0:8080/x%20y", Endpoint("http", "0.0.0.0", 8080, target="/x%20y")),
        ("tcp://[fe80::1%25eth0]:7", Endpoint("tcp", "fe80::1%eth0", 7)),
        ("ws://bücher.example:1/", Endpoint("ws", "xn--bcher-kva.example", 1, target="/")),
        ("unix:///run/echo.sock", Endpoint("unix", path="/run/echo.sock")),
        ("unix:///a%20b", Endpoint("unix", path="/a b")),
    ],
)
def test_a_url_is_taken_apart(url: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(url) == endpoint


@pytest.mark.parametrize(
    "url",
    [
        "tcp://127.0.0.1:5050",
        "ws://[::1]:9001/chat?room=1",
        "http://localhost:8080/",
        "unix:///run/echo.sock",
    ],
)
def test_an_endpoint_written_out_is_its_url_again(url: str) -> None:
    assert str(Endpoint.parse(url)) == url


@pytest.mark.requirement("rfc6455/3/2", "rfc6455/4.1/3", "rfc6455/4.1/4")
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "it has no scheme"),
        ("127.0.0.1:80", "it has no scheme"),
        ("localhost:80", "it has no scheme"),
        ("wss:/h:1/x", "two slashes must follow the scheme"),
        ("ws:h:1", "two slashes must follow the scheme"),
        ("wx://h:1", "did you mean ws://"),
        ("gopher://h:1", "the scheme 'gopher' is not known"),
        ("tcp://h", "it has no port"),
        ("tcp://:5050", "it has no host"),
        ("tcp://h:65536", "its port is not a number from 0 to 65535"),
        ("tcp://h:-1", "its port is not a number from 0 to 65535"),
        ("tcp://h:http", "its port is not a number from 0 to 65535"),
        ("tcp://h:1/x", "a TCP endpoint has no path"),
        ("tcp://h:1?x", "a TCP endpoint has no path"),
        ("tcp://::1:80", "write an IPv6 address in brackets"),
        ("tcp://[::1:80", "write an IPv6 address in brackets"),
        ("tcp://[::g]:80", r"is not an IPv6 address"),
        ("tcp://127.0.0.256:80", "is not an IPv4 address"),
        ("tcp://1.2.3:80", "is not an IPv4 address"),
        ("ws://me:secret@h:1", "it has a user name"),
        ("ws://h:1/#part", "it has a fragment"),
        ("ws://h:1/#", "it has a fragment"),
        ("ws://h:1/a b", "it contains a space or a control character"),
        ("ws://h:1/\r\nX: y", "it contains a space or a control character"),
        ("ws://a!b:1/", "cannot be a host's name"),
        ("ws://" + "a" * 254 + ":1/", "cannot be a host's name"),
        ("unix://run/echo.sock", "three slashes"),
        ("unix:///run/", "it is the path of a folder"),
        ("unix:///%00x", "it has a|zero byte"),
        ("unix:///" + "x" * 108, "longer than the kernel's 107 bytes"),
    ],
)
def test_a_url_that_is_not_an_endpoint_is_refused_with_what_is_wrong(url: str, words: str) -> None:
    with pytest.raises(EndpointError, match=words):
        Endpoint.parse(url)


@pytest.mark.requirement("rfc6455/11.1.1/2", "rfc6455/11.1.2/2")
@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("ws://h:1/grüße", "/gr%C3%BC%C3%9Fe"),
        ("ws://h:1/a?b=✓", "/a?b=%E2%9C%93"),
        ("wss://h/a?b=✓", "/a?b=%E2%9C%93"),
        ('ws://h:1/"<>\\^`{|}', "/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("ws://h:1/a%20b/c;d=e:@!$&'()*+,~?f=/?", "/a%20b/c;d=e:@!$&'()*+,~?f=/?"),
    ],
)
def test_what_a_uri_may_not_hold_is_percent_encoded(url: str, target: str) -> None:
    assert Endpoint.parse(url).target == target


@pytest.mark.parametrize(
    ("url", "port"), [("tls://h:1", 1), ("wss://h", 443), ("WSS://h/a", 443), ("https://h", 443)]
)
def test_the_schemes_of_tls_are_secure_and_have_their_own_ports(url: str, port: int) -> None:
    endpoint = Endpoint.parse(url)
    assert endpoint.is_secure
    assert endpoint.port == port
    assert Endpoint.parse(str(endpoint)) == endpoint
    assert not Endpoint.parse("ws://h").is_secure


@pytest.mark.parametrize(
    ("url", "is_unix"), [("udp://h:1", False), ("udp://[::1]:0", False), ("unixgram:///a", True)]
)
def test_endpoints_for_datagrams_have_neither_request_nor_tls(url: str, is_unix: bool) -> None:
    endpoint = Endpoint.parse(url)
    assert (endpoint.is_datagram, endpoint.is_unix) == (True, is_unix)
    assert not endpoint.has_http
    assert not endpoint.is_secure
    assert not endpoint.target
    assert str(endpoint) == url
    assert not Endpoint.parse("tcp://h:1").is_datagram


@pytest.mark.parametrize("url", ["udp://h", "udp://h:1/path", "unixgram://relative"])
def test_an_endpoint_for_datagrams_has_an_address_and_nothing_else(url: str) -> None:
    with pytest.raises(EndpointError, match="is not an endpoint"):
        Endpoint.parse(url)


def test_a_refusal_shows_how_such_an_endpoint_looks() -> None:
    with pytest.raises(EndpointError, match=r"one looks like tcp://127\.0\.0\.1:5050") as got:
        Endpoint.parse("tcp://h")
    assert got.value.subject == "tcp://h"


@pytest.mark.parametrize("value", [None, 5, b"tcp://h:1"])
def test_what_is_not_a_text_is_refused(value: Any) -> None:
    with pytest.raises(EndpointError, match="an endpoint is a URL such as"):
        Endpoint.parse(value)


def test_the_port_that_the_kernel_chose_takes_the_place_of_zero() -> None:
    assert str(Endpoint.parse("ws://[::1]:0/x").with_port(77)) == "ws://[::1]:77/x"


@given(
    st.text(max_size=60), st.sampled_from(["", "tcp://", "ws://", "http://", "unix://", "ws://["])
)
def test_any_text_is_parsed_to_a_stable_endpoint_or_refused(text: str, scheme: str) -> None:
    try:
        endpoint = Endpoint.parse(scheme + text)
    except EndpointError:
        return
    if "%" not in text:
        assert Endpoint.parse(str(endpoint)) == endpoint


@pytest.mark.requirement("rfc6455/3/1", "rfc6455/3/h1", "rfc6455/3/h2")
def test_a_websockets_url_has_a_port_and_a_resource_name_written_or_not() -> None:
    assert Endpoint.parse("WS://a.test?q") == Endpoint("ws", "a.test", 80, target="/?q")


@pytest.mark.requirement("rfc6455/3/2", "rfc6455/3/3")
def test_a_websockets_url_has_no_fragment_and_a_number_sign_is_escaped() -> None:
    for url in ("ws://a.test/x#y", "ws://a.test/#", "ws://a.test?x#y"):
        with pytest.raises(EndpointError, match="fragment"):
            Endpoint.parse(url)
    assert Endpoint.parse("ws://a.test/x%23y").target == "/x%23y"


@pytest.mark.requirement("rfc6455/4.1/3", "rfc6455/4.1/4")
def test_a_url_with_a_space_or_a_control_character_is_refused() -> None:
    for url in ("ws://a.test/x y", "ws://a.test/x\ny", "ws://a.test/\x7f"):
        with pytest.raises(EndpointError, match="space or a control character"):
            Endpoint.parse(url)
