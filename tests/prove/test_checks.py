"""What a case can check: each check fails for its own reason, and passes when all is well."""

from pathlib import Path

import pytest

from tests.prove.conftest import prove

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

SERVER = 'command = ["{python}", "server.py", "{port}"%s]'
CLIENT = """
[[cases.%s.clients]]
command = ["{python}", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/')"]
"""

CASES: dict[str, tuple[str, str, str, str]] = {
    "port": ("", 'port = "{port}"', "", ""),
    "output": ("", 'output = "^serving$"', "", ""),
    "http": ("late", 'http = "http://127.0.0.1:{port}/none", status = 404', "", ""),
    "notify": ("notify", "notify = true", "", ""),
    "good": (
        "write={folder}/end",
        'port = "{port}"',
        """
output = ["GET / HTTP.* 200", "^bye$"]
no_output = ["Traceback"]
descriptors_growth_max = 2
children_growth_max = 0
files = [{ path = "{folder}/end", contains = "the end", bytes_max = 8 },
         { path = "{folder}/none", exists = false }]
counters = [
    { url = "http://127.0.0.1:{port}/x", json = "requests", expect = ">= 2" },
    { url = "http://127.0.0.1:{port}/metrics", metric = "requests_total", expect = "> 1" },
    { command = ["echo", "n=5"], pattern = "n=(\\\\d+)", expect = 5 },
    { file = "{folder}/end", pattern = "()", expect = "== 0", when = "after-clients" },
]
""",
        "counter",
    ),
    "never-ready": ("silent", 'port = "{port}", within = "1s"', "", "not-ready"),
    "no-notification": ("", 'notify = true, within = "1s"', "", "not-ready"),
    "wrong-status": ("", 'http = "http://127.0.0.1:{port}/none", within = 2', "", "not-ready"),
    "ends-early": ("early", 'port = "{port}"', "", "server-ended"),
    "wrong-code": ("code=3", 'port = "{port}"', "", "stop-exit"),
    "child": ("child", 'port = "{port}"', "", "left-behind"),
    "allowed-child": ("child", 'port = "{port}"', "left_behind = 1", ""),
    "listener": ("grandchild", 'port = "{port}"', "", "left-behind port-open"),
    "children": ("children", 'port = "{port}"', "children_growth_max = 0", "children left-behind"),
    "zombies": ("zombies", 'port = "{port}"', "children_growth_max = 0", "children"),
    "no-output": ("", 'port = "{port}"', 'output = ["^never$"]', "server-output"),
    "bad-output": ("", 'port = "{port}"', 'no_output = ["serving"]', "server-output"),
    "no-file": ("", 'port = "{port}"', 'files = [{ path = "{folder}/x" }]', "file"),
    "large-file": (
        "write={folder}/end",
        'port = "{port}"',
        'files = [{ path = "{folder}/end", bytes_max = 7, contains = "nothing" }]',
        "file",
    ),
    "wrong-counter": (
        "",
        'port = "{port}"',
        'counters = [{ url = "http://127.0.0.1:{port}/", json = "requests", expect = "< 0" }]',
        "counter",
    ),
    "talks-too-much": ("talk=40", 'port = "{port}"', "", "output-limit"),
    "talks-much": ("talk=30", 'output = "^serving$"', 'output = ["^said$"]', ""),
    "too-much": ("eat", 'output = "serving"', "", "memory-limit"),
}
"""Case: words of the server, readiness, checks, and what is found."""


def write(suite: Path, cases: dict[str, tuple[str, str, str, str]]) -> None:
    """Write the cases as a suite."""
    text = '[defaults]\nmemory = "300M"\noutput = "32M"\n'
    for name, (words, ready, checks, _) in cases.items():
        command = SERVER % (f', "{words}"' if words else "")
        text += f"\n[cases.{name}.server]\n{command}\nready = {{ {ready} }}\n{CLIENT % name}"
        text += f"[cases.{name}.checks]\n{checks}\n"
    suite.write_text(text)


def test_each_check_finds_what_it_is_for_and_nothing_else(suite: Path) -> None:
    write(suite, CASES)
    run = prove(suite, "--jobs", "3")
    found = {name: " ".join(sorted(run.kinds(f"{name}/plain"))) for name in CASES}
    expected = {name: " ".join(sorted(case[3].split())) for name, case in CASES.items()}
    assert found == expected, run.output
    assert run.code == 1


def test_clients_are_checked_and_stopped_as_the_suite_says(suite: Path) -> None:
    suite.write_text("""
[cases.clients]
at_once = true
[[cases.clients.clients]]
name = "slow"
command = ["sleep", "600"]
within = "500ms"
[[cases.clients.clients]]
name = "stopped"
command = ["sh", "-c", "echo up; exec sleep 600"]
stop_on = "^up$"
exit = "SIGTERM"
[[cases.clients.clients]]
name = "wrong"
command = "echo hello"
output = ["bye"]
no_output = ["hel+o"]
exit = 1
""")
    run = prove(suite)
    texts = [finding["text"] for finding in run.cell("clients/plain")["findings"]]
    assert sorted(texts) == [
        "client-slow did not end within 0.5 s",
        "client-wrong ended with 0 instead of 1",
        "client-wrong wrote nothing that matches 'bye'",
        "client-wrong wrote what matches 'hel+o', which it must not",
    ]


def test_services_are_ready_before_the_server_and_stopped_after_it(suite: Path) -> None:
    suite.write_text("""
[cases.both.services.first]
command = ["{python}", "server.py", "{port.first}"]
ready.port = "{port.first}"
[cases.both.server]
command = ["{python}", "server.py", "{port}"]
ready.output = "serving"
[[cases.both.clients]]
command = ["{python}", "-c", "import sys; sys.exit({port} == {port.first})"]
""")
    run = prove(suite)
    assert run.code == 0, run.output
    steps = [step["text"] for step in run.cell("both/plain")["steps"]]
    assert steps == [
        "start first",
        "start server",
        "run client-1",
        "check",
        "stop server",
        "stop first",
    ]


def test_a_program_that_cannot_be_started_is_an_error_and_no_failure(suite: Path) -> None:
    suite.write_text('[cases.none]\nclients = [{ command = "no-such-program" }]\n')
    run = prove(suite)
    assert run.code == 3
    assert run.kinds("none/plain") == {"not-run"}
    assert "cannot run 'no-such-program'" in run.output


def test_a_case_that_takes_too_long_is_ended_with_what_is_known(suite: Path) -> None:
    suite.write_text("""
[cases.long]
timeout = "1s"
server = { command = ["{python}", "server.py", "{port}"], ready = { output = "serving" } }
clients = [{ command = "sleep 600", within = "5min" }]
""")
    run = prove(suite)
    assert run.kinds("long/plain") >= {"timeout"}
    assert "serving" in run.cell("long/plain")["logs"]["server"]
