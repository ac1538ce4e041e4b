"""No error shows the password or the query of a URL: whatever the scheme, and whatever is wrong."""

import functools
import warnings
from collections.abc import Callable

import pytest

import vespiary
import vespiary.sync
from vespiary._credentials import bare_url
from vespiary.cli.main import main
from vespiary.errors import ConfigurationError

SECRET = "s3cr3t"
QUERY = f"?token={SECRET}"
SCHEMES = ("ws", "wss", "http", "https", "tcp", "tls", "udp", "gopher", "ws+unix", "http+unix")
REST = (
    "127.0.0.1:9/",
    "127.0.0.1:99999/",
    "127.0.0.1:0/",
    "127.0.0.1",
    "127.0.0.1:9/#fragment",
    "127.0.0.1:9/a b",
    "127.0.0.1:9/a?query",
    "::1:9/",
    "[::1/",
    "ho st:9/",
    "/x:/",
)
URLS = [f"{scheme}://user:{SECRET}@{rest}" for scheme in SCHEMES for rest in REST]
URLS += [
    f"user:{SECRET}@127.0.0.1:9",
    f"ws:user:{SECRET}@127.0.0.1:9",
    f"ws:///user:{SECRET}@127.0.0.1:9",
    f" ws://user:{SECRET}@127.0.0.1:9",
    f"ws://user:{SECRET}/with/a/slash@127.0.0.1:9",
    f"ws://user:{SECRET}@with@127.0.0.1:99999",
    f"ws://us:er%3A:{SECRET}%00@127.0.0.1:9",
]


def shown(error: Exception) -> str:
    facts = (error, repr(error), *error.args, *vars(error).values())
    return " ".join(map(str, facts))


def refusal(act: Callable[[], object]) -> str:
    """All that is shown of an error, if there is one."""
    with warnings.catch_warnings():
        # A connect that would be made is not awaited.
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            act()
        except (ConfigurationError, OSError) as error:
            return shown(error)
    return ""


URLS += [f"{scheme}://{rest}{QUERY}" for scheme in ("ws", "wss", "http", "gopher") for rest in REST]
URLS += [f"127.0.0.1:9/{QUERY}", f"ws:/127.0.0.1:9/{QUERY}", f"ws+unix:///run/x:y{QUERY}"]
URLS += [f"ws://127.0.0.1:9/{QUERY}#{SECRET}", f"ws://127.0.0.1:9/#{SECRET}"]


@pytest.mark.parametrize("url", URLS)
def test_no_error_about_a_url_shows_its_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError) as served:
        vespiary.Server().add(vespiary.Handler, url)
    assert SECRET not in shown(served.value)
    for connect in (vespiary.connect, vespiary.sync.connect):
        deadlines = vespiary.Deadlines(handshake_seconds=0.001)
        call = functools.partial(connect, url, proxy=None, deadlines=deadlines)
        assert SECRET not in refusal(call)
    assert SECRET not in refusal(lambda: vespiary.connect("ws://example.invalid", proxy=url))


@pytest.mark.parametrize("url", URLS)
def test_no_error_of_a_command_shows_a_secret(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["load", url], ["serve", "vespiary:Handler", url]):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code != 0
        assert SECRET not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/a@b:c@d.sock",
        "unix:///run/a?b#c",
        "unixgram:///run/a?b",
        "ws+unix:///run/a?b",
        "ws+unix:///run/a?b:/x",
        "ws+unix:///a:b@c:/x",
        "ws://127.0.0.1:9/x:y@z",
        "ws://[::1]:9/@",
    ],
)
def test_what_is_no_user_info_stays(url: str) -> None:
    assert bare_url(url) == url


def test_the_steps_of_a_redirect_do_not_show_a_query() -> None:
    step = vespiary.Redirect(f"ws://127.0.0.1:9/{QUERY}", 302, f"/elsewhere{QUERY}")
    assert SECRET not in str(step)
    assert "/elsewhere" in str(step)
    assert step.location == f"/elsewhere{QUERY}"


def test_the_colon_of_the_user_info_is_not_taken_for_an_ipv6_address() -> None:
    with pytest.raises(ConfigurationError, match="its port is not a number"):
        vespiary.Server().add(vespiary.Handler, "ws://user:password@127.0.0.1:99999/")
