"""Which endpoint serves a request: paths, parameters, hosts, schemes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vespiary.errors import ConfigurationError, EndpointError
from vespiary.routing import HostPattern, PathPattern, Route, Router, normal_host


def pattern(path: str) -> PathPattern:
    return PathPattern.parse(path, f"ws://127.0.0.1:80{path}")


def route(path: str = "/", scheme: str = "ws", host: str | None = None) -> Route:
    return Route(scheme, pattern(path), HostPattern.parse(host))


def router(*routes: Route) -> Router[Route]:
    made: Router[Route] = Router()
    for one in routes:
        made.add(one, one)
    return made


@pytest.mark.parametrize(
    ("path", "asked", "parameters"),
    [
        ("/chat", "/chat", {}),
        ("/chat", "/%63hat", {}),
        ("/a%20b", "/a%20b", {}),
        ("/rooms/{room}", "/rooms/bees", {"room": "bees"}),
        ("/rooms/{room}", "/rooms/a%20b%2Fc", {"room": "a b/c"}),
        ("/rooms/{room}/{user}", "/rooms/bees/ada", {"room": "bees", "user": "ada"}),
        ("/rooms/{room}/", "/rooms/bees/", {"room": "bees"}),
        ("/rooms/{room}", "/rooms/%2525", {"room": "%25"}),
        ("/rooms/{room}", "/rooms/%E2%82%AC", {"room": "\u20ac"}),
        ("/rooms/{room}", "/rooms/" + "x" * 100_000, {"room": "x" * 100_000}),
        ("/files/{rest:path}", "/files/a//b", {"rest": "a//b"}),
        ("/files/{rest:path}", "/files//", {"rest": "/"}),
        ("/files/{rest:path}", "/files/...", {"rest": "..."}),
        ("/files/{rest:path}", "/files/a/b", {"rest": "a/b"}),
        ("/files/{rest:path}", "/files/", {"rest": ""}),
        ("/", "/anything/at/all", {}),
        ("/", "*", {}),
    ],
)
def test_a_path_matches_a_pattern_and_gives_its_parameters(
    path: str, asked: str, parameters: dict[str, str]
) -> None:
    assert pattern(path).match(asked) == parameters


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/chat", "/chat/"),
        ("/chat/", "/chat"),
        ("/chat", "/Chat"),
        ("/chat", "/chat/x"),
        ("/rooms/{room}", "/rooms/"),
        ("/rooms/{room}", "/rooms"),
        ("/rooms/{room}", "/rooms/a/b"),
        ("/rooms/{room}", "/rooms//"),
        ("/rooms/{room}", "/rooms/.."),
        ("/rooms/{room}", "/rooms/%2e%2e"),
        ("/rooms/{room}", "/rooms/..%2Fpasswords"),
        ("/rooms/{room}", "/rooms/%ff"),
        ("/rooms/{room}", "/rooms/%c0%af"),
        ("/rooms/{room}", "/rooms/%ed%a0%80"),
        ("/rooms/{room}", "/rooms/a%00b"),
        ("/files/{rest:path}", "/files/a/%00"),
        ("/rooms/{room}", "/rooms/%"),
        ("/rooms/{room}", "/rooms/%4"),
        ("/rooms/{room}", "/rooms/%zz"),
        ("/rooms/{room}", "/%zz/bees"),
        ("/rooms/{room}", "//rooms/bees"),
        ("/rooms/{room}", "/./rooms/bees"),
        ("/rooms/{room}", "rooms/bees"),
        ("/rooms/{room}", ""),
        ("/files/{rest:path}", "/files"),
        ("/files/{rest:path}", "/files/a/../b"),
        ("/files/{rest:path}", "/files/./b"),
        ("/files/{rest:path}", "*"),
    ],
)
def test_a_path_does_not_match_a_pattern(path: str, asked: str) -> None:
    assert pattern(path).match(asked) is None


@given(st.text())
def test_a_parameter_never_holds_a_dot_segment(asked: str) -> None:
    found = pattern("/f/{rest:path}").match(f"/f/{asked}")
    assert found is None or not {".", ".."} & set(found["rest"].split("/"))
    assert found is None or "\0" not in found["rest"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/a/../b", "never matches"),
        ("/{room}/{room}", "same name"),
        ("/{rest:path}/more", "nothing can follow"),
        ("/room-{name}", "complete segment"),
        ("/{room", "complete segment"),
        ("/{}", "identifier"),
        ("/{a b}", "identifier"),
        ("/{number:int}", ":path"),
        ("/%ff", "not UTF-8"),
        ("/%00", "zero byte"),
        ("/100%", "hexadecimal"),
    ],
)
def test_a_pattern_that_cannot_match_is_an_error(path: str, words: str) -> None:
    with pytest.raises(EndpointError, match=words):
        pattern(path)


@pytest.mark.parametrize(
    "host",
    [
        "example.com:80",
        "",
        "*",
        "a*.example.com",
        "http://x",
        5,
        ".",
        "example.com..",
        "::1",
        "[::1]:80",
        "[::1",
        "[1:2]",
        "[fe80::1%eth0]",
        "[v1.x]",
        "[::1].",
        "[0:0:0:0:0:0:0:1].",
        "[1:2].",
        "[....].",
        "*.[::1]",
    ],
)
def test_what_is_not_a_host_name_is_an_error(host: str) -> None:
    with pytest.raises(ConfigurationError, match="host="):
        HostPattern.parse(host)


def test_the_most_specific_route_wins_whatever_the_order_of_adding() -> None:
    paths = ["/", "/rooms/{room}", "/rooms/lobby", "/rooms/{rest:path}"]
    routes = [route(path) for path in paths]
    for ordered in (routes, routes[::-1]):
        found = router(*ordered)
        for asked, path in {
            "/rooms/lobby": "/rooms/lobby",
            "/rooms/bees?x=1": "/rooms/{room}",
            "/rooms/a/b": "/rooms/{rest:path}",
            "/other": "/",
        }.items():
            wanted = found.find(asked, None, True)
            assert wanted is not None
            assert wanted.path.text == path


def test_a_host_is_matched_without_its_port_and_before_any_path() -> None:
    one, below, every = (
        route("/", host="example.com"),
        route("/", host="*.example.com"),
        route("/chat"),
    )
    found = router(every, below, one)
    assert found.find("/chat", "Example.com:8080", True) is one
    assert found.find("/chat", "a.b.example.com", True) is below
    assert found.find("/chat", "other.org", True) is every
    assert found.find("/chat", None, True) is every
    assert found.find("/nothing", "other.org", True) is None


def test_a_websocket_goes_to_ws_and_other_requests_to_http_where_both_are_there() -> None:
    ws, http, page = route("/"), route("/", "http"), route("/page", "http")
    found = router(http, ws, page)
    assert found.find("/", None, True) is ws
    assert found.find("/", None, False) is http
    assert found.find("/page", None, False) is page
    assert router(ws).find("/", None, False) is ws
    assert router(http).find("/", None, True) is http
    assert router(page).find("/", None, True) is None


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        (route("/a/{x}"), route("/a/{y}"), True),
        (route("/a"), route("/%61"), True),
        (route("/"), route("/{rest:path}"), True),
        (route("/a"), route("/a/"), False),
        (route("/a"), route("/a", "http"), False),
        (route("/a"), route("/a", host="example.com"), False),
        (route("/a", host="EXAMPLE.com"), route("/a", host="example.com"), True),
    ],
)
def test_routes_that_match_the_same_requests_conflict(
    one: Route, other: Route, conflict: bool
) -> None:
    assert router(one).has(other) is conflict


@pytest.mark.parametrize(
    ("host", "authority", "matches"),
    [
        ("admin.example.com", "%61dmin.example.com", True),
        ("admin.example.com", "ADMIN.example.com.:80", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "..example.com", False),
        ("*.example.com", "a..example.com", False),
        ("EXAMPLE.com.", "example.COM:8080", True),
        ("example.com", "example.com..", False),
        ("example.com", "example.com:port", False),
        ("[0:0:0:0:0:0:0:1]", "[::1]", True),
        ("[::1]", "[0000:0000::0001]:8080", True),
        ("[::1]", "[%3A%3A1]", True),
        ("[2001:DB8::A]", "[2001:db8:0:0::a]", True),
        ("[::ffff:192.0.2.1]", "[::ffff:c000:201]", True),
        ("[::1]", "[::2]", False),
        ("[::1]", "[::1", False),
        ("[::1]", "::1", False),
        ("[::1]", "[::1]x", False),
        ("[fe80::1]", "[fe80::1%25eth0]", False),
        ("*.example.com", "[::1]", False),
    ],
)
def test_a_host_is_compared_in_its_normal_form(host: str, authority: str, matches: bool) -> None:
    assert HostPattern.parse(host).matches(normal_host(authority)) is matches
