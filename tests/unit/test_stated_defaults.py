"""Every default that `--help`, docstrings and the documents state is that of the code."""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from vespiary.backoff import Backoff
from vespiary.cli.main import main
from vespiary.client_options import HANDSHAKES_PER_ADDRESS_MAX, ClientOptions
from vespiary.http import ASGI
from vespiary.limits import Deadlines, Limits
from vespiary.prove.load.plan import Plan
from vespiary.server import Server
from vespiary.server_options import BACKLOG, FRAMING, SLOW_CONSUMER, ServerOptions
from vespiary.workers import Workers

CHECKOUT = Path(__file__).resolve().parents[2]
SETTINGS = (Limits, Deadlines, Backoff)


def field_defaults(cls: type) -> dict[str, object]:
    return {item.name: item.default for item in dataclasses.fields(cls)}


SERVE = {
    "--framing": FRAMING,
    "--drain-seconds": Deadlines().drain_seconds,
    "--slow-consumer": SLOW_CONSUMER,
    "--backlog": BACKLOG,
    "--spin-microseconds": inspect.signature(Server.run).parameters["spin_microseconds"].default,
    "--log-level": "info",
    "--filter": "none",
    "--subprotocol": "none",
    "--fd": "none",
    "--cert": "none",
    "--proxy-protocol-from": "none",
    "--forwarded-from": "none",
    "--worker-hang-seconds": Workers(1).hang_seconds,
    "--worker-memory-max": "none",
    "--root-path": "none",
    "--lifespan": inspect.signature(ASGI).parameters["lifespan"].default,
}
IN_WORDS = {
    "--workers": "in this process alone",
    "--origin": "all",
    "--host": "every host",
    "--executor": "on the loop's thread",
    "--compress": "no compression",
    "--path": "the current folder",
    "--mode": "set by the umask",
    "--key": "in the file of --cert",
    "--driver": "uring where the kernel allows it, else epoll",
    "--threads": "four more than there are processors, at most 32",
}
"""Defaults that say what happens without the option."""


def shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def stated_defaults(command: str) -> Iterator[tuple[str, str]]:
    """The options of a command, and the default that the help of each states."""
    assert isinstance(main, click.Group)
    found = main.get_command(click.Context(main), command)
    assert found is not None
    for parameter in found.params:
        if not isinstance(parameter, click.Option) or parameter.help is None:
            continue
        stated = re.search(r"\[(?:repeatable; )?default: ([^\]]*)\]", parameter.help)
        if stated:
            yield max(parameter.opts, key=len), stated[1]
        elif parameter.show_default is True:
            yield max(parameter.opts, key=len), shown(parameter.default)


def test_serve_states_the_defaults_of_the_code() -> None:
    for option, default in stated_defaults("serve"):
        if option in IN_WORDS:
            assert default == IN_WORDS[option]
        else:
            assert default == shown(SERVE[option]), option
    assert {"--drain-seconds", "--backlog", "--framing"} <= {
        name for name, _ in stated_defaults("serve")
    }


def test_load_states_the_defaults_of_the_code() -> None:
    plan = field_defaults(Plan)
    numbers = {
        name: default
        for name, default in stated_defaults("load")
        if re.fullmatch(r"[\d.]+\w*", default)
    }
    assert numbers
    for option, default in numbers.items():
        field = plan.get(option.removeprefix("--").replace("-", "_"))
        if isinstance(field, int | float):
            assert default.rstrip("ms") in (shown(field), shown(field * 1000)), option


def in_words(value: object) -> list[str]:
    """How a docstring may write a value."""
    if value is None:
        return ["None", "No limit", "as many as"]
    if callable(value):
        return ["vespiary.backoff.is_final"]
    assert isinstance(value, int | float)
    found = [f"{value:g}", f"{value:,g}", f"{value:,}"]
    for unit, factor in (("KiB", 1 << 10), ("MiB", 1 << 20)):
        if value % factor == 0:
            found.append(f"{value // factor:g} {unit}")
    return found


def attributes(cls: type) -> dict[str, str]:
    """The text of each attribute in a class's docstring."""
    text = inspect.getdoc(cls) or ""
    text = text.partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n    .*(?<!:))*?)(?=\n    \w+: |\Z)", text, re.M)
    return {name: re.sub(r"\s+", " ", words) for name, words in found}


@pytest.mark.parametrize(
    ("cls", "name"), [(cls, name) for cls in SETTINGS for name in field_defaults(cls)]
)
def test_the_docstring_of_a_field_states_its_default(cls: type, name: str) -> None:
    words = attributes(cls)[name]
    default = field_defaults(cls)[name]
    assert any(
        re.search(rf"(?<![\d.,]){re.escape(one)}(?![\d])", words) for one in in_words(default)
    ), words


def test_the_docstrings_of_options_state_the_defaults_of_the_code() -> None:
    server, client = attributes(ServerOptions), attributes(ClientOptions)
    assert f"Default: {BACKLOG}." in server["backlog"]
    assert f"default: `{FRAMING}`" in server["framing"]
    assert f"default: `{SLOW_CONSUMER}`" in server["slow_consumer"]
    assert f"{HANDSHAKES_PER_ADDRESS_MAX}: as many" in client["handshakes_per_address_max"]


KNOWN = {
    **{name: value for cls in SETTINGS for name, value in field_defaults(cls).items()},
    **SERVE,
    "TestClient": None,
}
IN_DOCUMENTS = (
    # A name and its number: `drain_seconds` (8), `--backlog` ...; 4096 by default.
    re.compile(r"`(?:\w+\()?(?P<name>\w+)[^`|]*` \((?P<value>\d[\d,.]*)[,)]"),
    re.compile(r"`(?P<name>--[\w-]+)[^`]*`[^|]*\|[^|]*?(?P<value>\d[\d,.]*)(?: \w+)? by default"),
)


def documents() -> list[Path]:
    found = [*CHECKOUT.glob("docs/**/*.md"), CHECKOUT / "README.md"]
    return [path for path in found if "_build" not in path.parts]


def test_the_documents_state_the_defaults_of_the_code() -> None:
    checked = []
    for path in documents():
        for line in path.read_text().splitlines():
            for pattern in IN_DOCUMENTS:
                for found in pattern.finditer(line):
                    if found["name"] in KNOWN:
                        value = KNOWN[found["name"]]
                        assert found["value"].rstrip(".,") in in_words(value), (path.name, line)
                        checked.append(found["name"])
    assert {"--drain-seconds", "--backlog", "first_seconds", "ping_interval_seconds"} <= {*checked}


def test_the_page_on_stopping_states_when_connections_are_closed_and_reset() -> None:
    text = (CHECKOUT / "docs/how-to/stop.md").read_text()
    rows = re.findall(r"^   \| (\d+)( \(default\))? \| ([\d.]+) s \| ([\d.]+) s \|$", text, re.M)
    close = Deadlines().close_seconds
    assert close is not None
    assert f"`close_seconds` ({close:g})" in text
    assert [float(drain) for drain, default, *_ in rows if default] == [Deadlines().drain_seconds]
    assert len(rows) == text.count(" s |") / 2
    for drain, _, closed, reset in rows:
        answer = min(float(drain) / 4, close)
        assert float(closed) == float(drain) - answer
        assert float(reset) == float(closed) + max(answer, 1)
