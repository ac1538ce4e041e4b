"""The header fields that a reverse proxy passes on (RFC 9110 section 7.6.1)."""

from hypothesis import given
from hypothesis import strategies as st

from vespiary.wasp.gateway.fields import Sender, request_fields, response_fields

SENDER = Sender("2001:db8::1", "example.com", "https")
NAMES = st.sampled_from(
    [
        "Connection",
        "Keep-Alive",
        "TE",
        "Upgrade",
        "Transfer-Encoding",
        "Content-Length",
        "Host",
        "X-Forwarded-For",
        "X_Forwarded-For",
        "Forwarded",
        "Via",
        "Cookie",
        "X-A",
        "Expect",
        "Trailer",
    ]
)
LINES = st.lists(st.tuples(NAMES, st.sampled_from(["x-a", "close, X-A", "1", "chunked", ""])))
NEVER = {"connection", "keep-alive", "te", "upgrade", "expect", "trailer"}


@given(LINES)
def test_a_request_has_one_host_and_one_framing_and_nothing_of_the_connection(
    lines: list[tuple[str, str]],
) -> None:
    made = request_fields(lines, SENDER, "behind", "both")
    names = [name.lower() for name, _ in made]
    assert made[0] == ("Host", "behind")
    for name in ("host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"):
        assert names.count(name) == 1, name
    assert names.count("content-length") + names.count("transfer-encoding") <= 1
    assert not NEVER & set(names)
    assert not any("_" in name for name in names)


@given(LINES)
def test_what_connection_names_is_removed(lines: list[tuple[str, str]]) -> None:
    named = {
        token.strip().lower()
        for name, value in lines
        if name == "Connection"
        for token in value.split(",")
    }
    assert not (named | NEVER - {"expect"}) & {
        name.lower() for name, _ in response_fields(lines, 200)
    }


def test_the_order_and_repeated_fields_stay() -> None:
    lines = [("Set-Cookie", "a"), ("X", "1"), ("set-cookie", "b"), ("Connection", "close")]
    assert response_fields(lines, 200) == lines[:3]


def test_a_length_that_has_no_effect_is_not_passed_on() -> None:
    length, coding = ("Content-Length", "3"), ("Transfer-Encoding", "chunked")
    assert response_fields([length], 200) == [length]
    assert response_fields([length], 304) == [length]
    assert response_fields([length], 204) == []
    assert response_fields([length, coding], 200) == []


def test_an_ipv6_address_is_quoted_in_forwarded() -> None:
    made = dict(request_fields([], SENDER, "behind", "forwarded"))
    assert made["Forwarded"] == 'for="[2001:db8::1]";host="example.com";proto=https'
    assert dict(request_fields([], SENDER, "behind", "none")) == {
        "Host": "behind",
        "Via": "1.1 vespiary",
    }
