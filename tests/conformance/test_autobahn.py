"""Autobahn's cases 1 to 7, 9 and 10 against our server and our client, on both drivers."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.suite import (
    AGENT,
    CASE_COUNTS,
    HALVES,
    HERE,
    Suite,
    Verdict,
    free_port,
    log_end,
    objections,
    read_verdicts,
    stopping,
)

pytestmark = [pytest.mark.conformance, pytest.mark.slow]

RUN_SECONDS = 120.0
CHECKOUT = HERE.parents[1]

INFORMATIONAL = {
    "7.1.6": (
        "INFORMATIONAL",
        "The suite closes behind 256 KiB that wait to be echoed; RFC 6455 leaves open how many"
        " messages are answered before a close (section 5.5.1).",
    ),
    "7.13.1": ("INFORMATIONAL", "Close code 5000: outside every range of RFC 6455 section 7.4.2."),
    "7.13.2": ("INFORMATIONAL", "Close code 65536, which is 0 in its two bytes: as 7.13.1."),
}
"""What the suite itself calls informational: the RFC does not decide these cases."""

SERVER_EXCEPTIONS = {**INFORMATIONAL}
CLIENT_EXCEPTIONS = {**INFORMATIONAL}


def all_ok() -> dict[str, Verdict]:
    ok = Verdict("OK", "OK")
    return {
        f"{group}.1.{number}": ok
        for group, count in CASE_COUNTS.items()
        for number in range(1, count + 1)
    }


@pytest.mark.timeout(300)
def test_our_server_passes_every_case(
    suite: Suite, driver: str, environment: dict[str, str], tmp_path: Path
) -> None:
    folders = [tmp_path / f"half{number}" for number, _ in enumerate(HALVES)]
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.echo_server", driver],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        env=environment,
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(stopping(server))
        assert server.stdout is not None
        stack.enter_context(server.stdout)
        url = server.stdout.readline().decode().strip()
        assert url.startswith("ws://"), "the server did not start"
        clients = []
        for folder, cases in zip(folders, HALVES, strict=True):
            servers = [{"agent": AGENT, "url": url.rstrip("/")}]
            spec = {"servers": servers, "cases": cases}
            client = suite.start("fuzzingclient", folder, spec)
            clients.append(stack.enter_context(stopping(client)))
        for client, folder in zip(clients, folders, strict=True):
            assert client.wait(RUN_SECONDS) == 0, log_end(folder)
    found = objections(read_verdicts(folders), SERVER_EXCEPTIONS)
    assert not found, f"reports are in {tmp_path}"


@pytest.mark.timeout(300)
def test_our_client_passes_every_case(
    suite: Suite, driver: str, environment: dict[str, str], tmp_path: Path
) -> None:
    folders = [tmp_path / f"half{number}" for number, _ in enumerate(HALVES)]
    urls = [f"ws://127.0.0.1:{free_port()}" for _ in HALVES]
    with contextlib.ExitStack() as stack:
        for folder, cases, url in zip(folders, HALVES, urls, strict=True):
            spec = {"url": url, "cases": cases}
            stack.enter_context(stopping(suite.start("fuzzingserver", folder, spec)))
        done = subprocess.run(
            [sys.executable, "-m", "tests.conformance.echo_client", driver, AGENT, *urls],
            cwd=CHECKOUT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    found = objections(read_verdicts(folders), CLIENT_EXCEPTIONS)
    assert not found, f"reports are in {tmp_path}"


def test_nothing_is_objected_to_when_every_case_is_ok() -> None:
    assert objections(all_ok(), {}) == []


def test_a_case_that_is_not_ok_is_objected_to() -> None:
    verdicts = all_ok() | {"9.1.6": Verdict("FAILED", "OK")}
    assert objections(verdicts, {}) == ["case 9.1.6: FAILED, closing OK, expected OK"]


def test_a_case_that_ends_badly_is_objected_to() -> None:
    verdicts = all_ok() | {"7.1.1": Verdict("OK", "UNCLEAN")}
    assert objections(verdicts, {}) == ["case 7.1.1: OK, closing UNCLEAN, expected OK"]


def test_a_named_exception_is_accepted() -> None:
    verdicts = all_ok() | {"6.1.1": Verdict("NON-STRICT", "NON-STRICT")}
    assert objections(verdicts, {"6.1.1": ("NON-STRICT", "it fails late")}) == []


def test_an_exception_that_is_now_ok_is_objected_to() -> None:
    found = objections(all_ok(), {"6.1.1": ("NON-STRICT", "it fails late")})
    assert found == ["case 6.1.1: OK, expected NON-STRICT"]


def test_a_case_that_was_not_run_is_objected_to() -> None:
    verdicts = all_ok()
    del verdicts["5.1.20"]
    assert objections(verdicts, {}) == ["group 5: 19 cases were run, not 20"]


def test_every_exception_has_a_reason() -> None:
    for exceptions in (SERVER_EXCEPTIONS, CLIENT_EXCEPTIONS):
        assert all(len(reason) > 20 for _, reason in exceptions.values())
