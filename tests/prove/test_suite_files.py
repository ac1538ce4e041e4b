"""Suite files: what is wrong with one is reported with file, line, key, and what was expected."""

from pathlib import Path

import pytest

from vespiary._toml_lines import lines_of_keys
from vespiary.prove.acceptance.matrix import cells_of, chosen, with_pythons
from vespiary.prove.acceptance.reading import SuiteError, read_suite

GOOD = """\
name = "good"
[matrix]
tools = ["plain", "locks"]
drivers = ["uring", "epoll"]
exclude = [{ tool = "locks", driver = "epoll" }]

[cases.echo]
about = "echoes"
timeout = "30s"
memory = "300M"

[cases.echo.server]
command = ["{python}", "server.py", "{port}"]
ready = { port = "{port}", within = 5 }
stop = { signal = "SIGINT", exit = "SIGINT" }

[[cases.echo.clients]]
load = "tcp://127.0.0.1:{port} --messages 10"
within = "10s"

[cases.echo.checks]
descriptors_growth_max = 3
counters = [
    { url = "http://127.0.0.1:{port.admin}/", json = "total", expect = ">= 1" },
]
"""

BROKEN = {
    "NUL in a word": (
        '"server.py"',
        '"server\\u0000.py"',
        13,
        "cases.echo.server.command[1]",
        "expected a text without the character NUL",
    ),
    "NUL in a variable": (
        'memory = "300M"',
        'environment = { A = "\\u0000" }',
        10,
        "cases.echo.environment.A",
        "expected a text without the character NUL",
    ),
    "an equals sign in the name of a variable": (
        'memory = "300M"',
        'environment = { "A=B" = "C" }',
        10,
        "cases.echo.environment",
        "expected the name of a variable, without '='; got 'A=B'",
    ),
    "no workers": (
        'drivers = ["uring", "epoll"]',
        "workers = [2, 0]",
        4,
        "matrix.workers[1]",
        "expected 1 or more; got 0",
    ),
    "a misspelt key of the file": ("name =", "nmae =", 1, "nmae", "did you mean 'name'?"),
    "a misspelt axis": ("drivers =", "driver =", 4, "matrix.driver", "did you mean 'drivers'?"),
    "a misspelt key of a case": ("timeout =", "tmeout =", 9, "cases.echo.tmeout", "'timeout'"),
    "a misspelt key of a server": (
        "command =",
        "comand =",
        13,
        "cases.echo.server.comand",
        "did you mean 'command'?",
    ),
    "a misspelt key of an inline table": (
        "within = 5",
        "witin = 5",
        14,
        "cases.echo.server.ready.witin",
        "did you mean 'within'?",
    ),
    "a misspelt key in an array over several lines": (
        'json = "total"',
        'jsn = "total"',
        24,
        "cases.echo.checks.counters[0].jsn",
        "did you mean 'json'?",
    ),
    "a time that is not valid": (
        'timeout = "30s"',
        'timeout = "soon"',
        9,
        "cases.echo.timeout",
        "expected a time above zero, such as 5, '500ms' or '2min'; got 'soon'",
    ),
    "a time of zero": ("within = 5", "within = 0", 14, "ready.within", "a time above zero"),
    "a size that is not valid": (
        '"300M"',
        '"300 apples"',
        10,
        "cases.echo.memory",
        "expected a size",
    ),
    "a signal that is not valid": ('"SIGINT", exit', '"INT", exit', 15, "stop.signal", "'SIGTERM'"),
    "an exit code that is not valid": (
        'exit = "SIGINT"',
        "exit = 256",
        15,
        "stop.exit",
        "0 to 255",
    ),
    "a command that is a number": (
        '["{python}", "server.py", "{port}"]',
        "7",
        13,
        "cases.echo.server.command",
        "expected a command: a list of words",
    ),
    "a comparison that is not valid": (
        '">= 1"',
        '"many"',
        24,
        "counters[0].expect",
        "expected a comparison with a number, such as '>= 100'",
    ),
    "a text in place of a number": (
        "growth_max = 3",
        'growth_max = "3"',
        22,
        "cases.echo.checks.descriptors_growth_max",
        "expected a whole number; got '3'",
    ),
    "a text in place of a list": (
        'drivers = ["uring", "epoll"]',
        'drivers = "uring"',
        4,
        "matrix.drivers",
        "expected a list; got 'uring'",
    ),
    "an unknown tool": (
        '"plain", "locks"]',
        '"plain", "loks"]',
        3,
        "matrix.tools[1]",
        "did you mean 'locks'?",
    ),
    "an unknown driver": ('"epoll"]', '"epol"]', 4, "matrix.drivers[1]", "did you mean 'epoll'?"),
    "an unknown name in braces": (
        '"server.py", "{port}"',
        '"server.py", "{prot}"',
        13,
        "cases.echo.server.command[2]",
        "unknown name {prot}: did you mean 'port'?",
    ),
    "a name of an axis that has no values": (
        '"server.py", "{port}"',
        '"server.py", "{workers}"',
        13,
        "cases.echo.server.command[2]",
        "{workers} needs matrix.workers",
    ),
    "an exclusion that excludes nothing": (
        'tool = "locks", driver',
        'tool = "memory", driver',
        5,
        "matrix.exclude[0]",
        "excludes nothing",
    ),
    "an exclusion by an axis that is not valid": (
        'tool = "locks", driver',
        'tols = "locks", driver',
        5,
        "matrix.exclude[0].tols",
        "did you mean 'tool'?",
    ),
    "a server without readiness": (
        'ready = { port = "{port}", within = 5 }',
        "",
        12,
        "cases.echo.server.ready",
        "expected how to know that it is ready: port, output, http or notify",
    ),
    "a client with two commands": (
        'within = "10s"',
        'command = "true"',
        17,
        "cases.echo.clients[0]",
        "expected one of command, load: there are command and load",
    ),
    "a case with nothing to run": (
        GOOD[GOOD.index("[cases.echo.server]") :],
        "",
        7,
        "cases.echo",
        "expected a server, or clients, or both",
    ),
    "a server without a command": (
        'command = ["{python}", "server.py", "{port}"]\n',
        "",
        12,
        "cases.echo.server.command",
        "is missing",
    ),
    "a suite without cases": (
        GOOD[GOOD.index("[cases.echo]") :],
        "",
        1,
        "cases",
        "is missing",
    ),
    "an expression that is not valid": (
        "descriptors_growth_max = 3",
        'output = ["("]',
        22,
        "cases.echo.checks.output[0]",
        "expected a regular expression",
    ),
    "values nested too deeply": (
        'name = "good"',
        "name = " + "[" * 5000,
        1,
        "is not valid TOML",
        "deeply",
    ),
    "something that is not TOML": ('name = "good"', 'name = "good', 1, "is not valid TOML", ""),
}
"""What is wrong: what to replace by what; the line, the key, and what the message says."""


def write(folder: Path, text: str) -> Path:
    path = folder / "suite.toml"
    path.write_text(text)
    return path


def test_a_good_file_is_read(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, GOOD))
    case = suite.cases["echo"]
    assert case.server is not None
    assert case.server.command == ("{python}", "server.py", "{port}")
    assert float(case.server.ready.within) == 5.0
    assert case.server.stop.exit == 130
    assert case.clients[0].load == ("tcp://127.0.0.1:{port}", "--messages", "10")
    assert case.memory == 300 << 20
    ids = [cell.id for cell in cells_of(suite, "echo")]
    assert ids == ["echo/plain/uring", "echo/plain/epoll", "echo/locks/uring"]


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_file_has_a_line_a_key_and_what_was_expected(
    name: str, tmp_path: Path
) -> None:
    old, new, line, key, text = BROKEN[name]
    broken = GOOD.replace(old, new, 1)
    assert broken != GOOD
    path = write(tmp_path, broken)
    with pytest.raises(SuiteError) as raised:
        read_suite(path)
    first = raised.value.lines[0]
    assert first.startswith(f"{path}:{line}: "), first
    assert key in first
    assert text in first


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../x", "", "a\\nb", "x" * 101])
@pytest.mark.parametrize("kind", ["case", "tool", "host", "service", "client"])
def test_no_name_leads_out_of_the_folder_of_reports(name: str, kind: str, tmp_path: Path) -> None:
    tables = {
        "case": f'[cases."{name}"]\nclients = [{{ command = "true" }}]\n',
        "tool": f'[tools."{name}"]\ncommand = ["true"]\n',
        "host": f'[hosts."{name}"]\nssh = "a"\n',
        "service": f'[cases.x.services."{name}"]\ncommand = "true"\nready.output = "x"\n',
        "client": f'[[cases.x.clients]]\nname = "{name}"\ncommand = "true"\n',
    }
    if kind == "client" and not name:
        return  # Then its number stands for it.
    case = '[cases.y]\nclients = [{ command = "true" }]\n'
    with pytest.raises(SuiteError, match="expected a name of letters"):
        read_suite(write(tmp_path, tables[kind] + case))


@pytest.mark.parametrize(
    "tables",
    [
        '[cases.x.server]\ncommand = "true"\nready.output = "x"\n'
        '[cases.x.services.server]\ncommand = "true"\nready.output = "x"\n',
        '[cases.x.services.client-1]\ncommand = "true"\nready.output = "x"\n',
        '[[cases.x.clients]]\nname = "1"\ncommand = "true"\n',
    ],
)
def test_two_programs_of_a_case_have_two_names(tables: str, tmp_path: Path) -> None:
    clients = '[[cases.x.clients]]\ncommand = "true"\n' * 2
    if "name" in tables:
        clients, tables = tables, '[[cases.x.clients]]\nname = "1"\ncommand = "true"\n'
    with pytest.raises(SuiteError, match="another program of this case is called"):
        read_suite(write(tmp_path, clients + tables))


def test_all_that_is_wrong_is_reported_at_once(tmp_path: Path) -> None:
    broken = GOOD.replace("name =", "nmae =").replace('"30s"', '"soon"').replace('"300M"', "true")
    with pytest.raises(SuiteError) as raised:
        read_suite(write(tmp_path, broken))
    assert [line.split(":")[1] for line in raised.value.lines] == ["1", "9", "10"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"none\.toml: cannot be read"):
        read_suite(tmp_path / "none.toml")


def test_names_of_cases_that_do_not_exist_get_a_suggestion(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, GOOD))
    with pytest.raises(ValueError, match="did you mean 'echo'"):
        chosen(suite, ["ecco"], [])
    with pytest.raises(ValueError, match="no tool 'memry': did you mean 'memory'"):
        chosen(suite, [], ["memry"])
    assert [cell.id for cell in chosen(suite, ["ec*"], ["locks"])] == ["echo/locks/uring"]
    assert [cell.id for cell in chosen(suite, ["echo/plain/epoll"], [])] == ["echo/plain/epoll"]


def test_a_tool_and_a_python_that_are_not_in_the_matrix_can_be_asked_for(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, GOOD))
    ids = [cell.id for cell in chosen(suite, [], ["valgrind", "locks"])]
    assert ids == ["echo/locks/uring", "echo/valgrind/uring", "echo/valgrind/epoll"]
    other = with_pythons(suite, ["/usr/bin/python3.12"])
    ids = [cell.id for cell in chosen(other, [], ["locks"])]
    assert ids == ["echo/locks/uring/usr.bin.python3.12"]


def test_the_seed_of_a_cell_depends_on_nothing_but_the_run_and_the_cell(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, GOOD))
    every = {cell.id: cell.seed(7) for cell in chosen(suite, [], [])}
    (one,) = chosen(suite, ["echo/plain/epoll"], [])
    assert one.seed(7) == every[one.id]
    assert one.seed(8) != one.seed(7)
    assert len(set(every.values())) == len(every)


def test_lines_are_found_in_every_form_that_toml_has() -> None:
    text = (
        "# comment [not.a.table]\n"
        "a.b = '''one # two\n"
        "three'''\n"
        '"quoted key" = { x = [1,\n'
        "   # between\n"
        '   { y = "]" }, ], z = 2024-01-01T00:00:00 }\n'
        "[[t.u]]\n"
        "p = 1\n"
        "[[t.u]]\n"
        "[t.u.v]\n"
        "q = true # end\n"
        '"a\\u00e4\\t" = 1\n'
    )
    lines = lines_of_keys(text)
    assert lines["a", "b"] == 2
    assert lines["quoted key", "x", 1, "y"] == 6
    assert lines["quoted key", "z"] == 6
    assert lines["t", "u", 0, "p"] == 8
    assert lines["t", "u", 1] == 9
    assert lines["t", "u", 1, "v", "q"] == 11
    assert lines["t", "u", 1, "v", "aä\t"] == 12


def test_names_that_cannot_be_seen_are_quoted_and_have_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + '\n[cases.""]\n[cases."\\u001b[31m"]\n')
    with pytest.raises(SuiteError) as caught:
        read_suite(path)
    last = len(path.read_text().splitlines())
    assert f'suite.toml:{last - 1}: cases."": expected a ' in str(caught.value)
    assert f'suite.toml:{last}: cases."\\x1b[31m": expected a ' in str(caught.value)


def test_a_byte_order_mark_before_a_file_is_skipped(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff" + GOOD)
    assert "echo" in read_suite(path).cases
