import dataclasses
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner, Result

from vespiary.cli.main import main
from vespiary.limits import Deadlines, Limits


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="vespiary")


def test_help_lists_the_commands_without_importing_them() -> None:
    script = (
        "import sys; from vespiary.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith('vespiary.cli.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100
    )
    assert re.search(r"^  serve +Serve a handler on one or more URLs\.$", done.stdout, re.M)
    assert done.stdout.rstrip().endswith("['vespiary.cli.main']")


@pytest.mark.parametrize("verb", ["serve", "load", "memory", "timewait", "trace"])
def test_every_command_has_help(verb: str) -> None:
    done = run(verb, "--help")
    assert done.exit_code == 0, done.output
    assert f"Usage: vespiary {verb}" in done.output


def test_an_unknown_verb_is_refused_with_the_nearest() -> None:
    done = run("sevre")
    assert done.exit_code == 2
    assert "no command 'sevre': did you mean 'serve'?" in done.output


def test_an_unknown_verb_without_a_near_one_is_refused_with_all() -> None:
    words = " ".join(run("xyz").output.split())
    assert f"there are {', '.join(sorted(main.list_commands(click.Context(main))))}" in words


def test_version_is_that_of_the_installed_package() -> None:
    assert (
        run("--version").output == f"vespiary, version {importlib.metadata.version('vespiary')}\n"
    )


def _options(command: click.Command, name: str = "vespiary") -> Iterator[tuple[str, click.Option]]:
    """Every option of a command and of those below it."""
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield f"{name} {parameter.opts[0]}", parameter
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _options(found, f"{name} {child}")


OPTIONS = dict(_options(main))


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_has_help(name: str) -> None:
    assert OPTIONS[name].help


@pytest.mark.parametrize("name", [name for name in OPTIONS if name.startswith("vespiary serve ")])
def test_every_option_of_serve_that_takes_a_value_names_its_default(name: str) -> None:
    option = OPTIONS[name]
    by_name = name.endswith((" --limit", " --deadline"))
    assert option.is_flag or by_name or option.show_default or "default: " in (option.help or "")


def _commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _commands(found, (*words, child))


@pytest.mark.parametrize("words", list(_commands(main)), ids=" ".join)
def test_help_of_every_command_keeps_its_lines_and_no_marks_of_the_library(
    words: tuple[str, ...],
) -> None:
    done = run(*words, "--help")
    assert done.exit_code == 0
    assert "\\b" not in done.output
    assert "\b" not in done.output
    for line in done.output.splitlines():
        assert line.count("vespiary " + " ".join(words)) <= 1, "examples that run together"


_OTHER_FORMS = {
    r"\bx[<>]|<=x": "at least 1, 1 to 100",
    r"\(default|by default\)|default:(?![^\[]*\])": "[default: 8]",
    r"[Rr]epeatable\.|(can|may) be repeated": "[repeatable], which multiple=True adds",
    r"\]\s+\[default|\]\s+\[at ": "one pair of brackets",
    r"\bINTEGER\b|\bFLOAT\b": "NUMBER",
    r"\sOf --": "With --option: ...",
    r"Exit (status|code):": "Exit codes:",
}
"""What another form looks like, and the one form."""


@pytest.mark.parametrize("words", [*_commands(main), ("locks", "attach")], ids=" ".join)
def test_help_has_one_form_for_defaults_ranges_and_repetition(words: tuple[str, ...]) -> None:
    text = run(*words, "--help").output
    assert "Usage: vespiary" in text
    for pattern, form in _OTHER_FORMS.items():
        found = re.search(pattern, text)
        assert not found, f"{found[0]!r}: write {form}"


@pytest.mark.parametrize("name", [name for name, it in OPTIONS.items() if not it.is_flag])
def test_every_default_that_is_a_value_is_shown(name: str) -> None:
    option = OPTIONS[name]
    context = click.Context(click.Command(name))
    record = option.get_help_record(context)
    has_default = option.default is not None and option.default != () and not option.required
    if has_default and repr(option.default) != "Sentinel.UNSET":
        assert record
        assert "default: " in record[1]


def test_help_of_serve_lists_every_limit_and_deadline_with_its_default() -> None:
    text = run("serve", "--help").output
    for owner in (Limits, Deadlines):
        for item in dataclasses.fields(owner):
            assert f" {item.name}=" in text
    assert "vespiary serve echo:Echo ws://127.0.0.1:9001\n" in text


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["serve", "--framng", "raw"], "--framing"),
        (["load", "--conections", "1"], "--connections"),
        (["locks", "--repaet", "2"], "--repeat"),
        (["timewait", "--onec"], "--once"),
        (["trace", "snpshot"], "snapshot"),
        (["trace", "scan", "--strct"], "--strict"),
        (["--verson"], "--version"),
    ],
)
def test_a_misspelt_option_or_command_is_refused_with_the_nearest(
    arguments: list[str], near: str
) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert "Did you mean" in done.output
    assert near in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x:y", "wx://h:1"], "did you mean ws://"),
        (["x:y"], "Missing argument 'URL...'"),
        (["x:y", "tcp://h:1", "--limit", "message_bytes=1"], "did you mean 'message_bytes_max'"),
        (["x:y", "tcp://h:1", "--limit", "message_bytes_max"], "--limit takes NAME=VALUE"),
        (["x:y", "tcp://h:1", "--deadline", "idle_seconds=soon"], "a time such as 10, 250ms"),
        (["x:y", "tcp://h:1", "--framing", "frames"], "'frames' is not one of"),
        (["x:y", "unix:///a", "--mode", "rw"], "an octal number, such as 660"),
        (["x:y", "tcp://h:1", "--drain-seconds", "soon"], "a time such as 10, 250ms"),
        (
            ["x:y", "tcp://h:1", "--drain-seconds", "1", "--deadline", "drain_seconds=1"],
            "set the same deadline",
        ),
        (["x:y", "tcp://h:1", "--fd", "-1"], "Invalid value for '--fd'"),
        (["x", "tcp://h:1"], "write MODULE:OBJECT"),
        (["no_such_module_here:y", "tcp://h:1"], "there is no module 'no_such_module_here'"),
        (["json:dumps", "tcp://h:1"], "json:dumps is a plain function: it must be"),
        (["json:JSONEncoder", "tcp://h:1"], "json:JSONEncoder is the class JSONEncoder"),
        (["sys:path", "tcp://h:1"], "sys:path is an object of type list"),
    ],
)
def test_serve_refuses_what_cannot_be_with_a_sentence(arguments: list[str], words: str) -> None:
    done = run("serve", *arguments)
    assert done.exit_code == 2, done.output
    assert words in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (("srve", "a:b", "ws://127.0.0.1:0"), "serve"),
        (("trace", "prov"), "prove"),
        (("serve", "a:b", "tcp://127.0.0.1:0", "--framing", "lin"), "line"),
        (("log-level", "debgu"), "debug"),
        (("memory", "--method", "sampeling", "--", "true"), "sampling"),
        (("locks", "attch", "1"), "vespiary locks attach 1"),
    ],
)
def test_a_near_match_is_suggested_at_every_level(arguments: tuple[str, ...], near: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert f"id you mean '{near}'?" in done.output


def test_a_value_without_a_near_match_lists_the_choices() -> None:
    done = run("serve", "a:b", "tcp://127.0.0.1:0", "--framing", "xyz")
    assert "'xyz' is not one of 'raw', 'line', 'crlf', 'length'." in done.output
    assert "did you mean" not in done.output.lower()
