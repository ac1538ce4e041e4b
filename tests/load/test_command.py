"""The command itself: usage, what it prints, and where it writes its report."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vespiary.prove.load import page

if TYPE_CHECKING:
    from tests.load.conftest import Load, Serve

pytestmark = pytest.mark.acceptance


def echo(connection: socket.socket) -> None:
    while received := connection.recv(65536):
        connection.sendall(received)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["localhost:80"], "is not an address that can be loaded"),
        (["tcp://127.0.0.1"], "is not a HOST:PORT"),
        (["tcp://127.0.0.1:1", "--size", "0"], "size is 0"),
        (["tcp://127.0.0.1:1", "--size", "big"], "is not a size such as"),
        (["tcp://127.0.0.1:1", "--connections", "1000001"], "connections is 1000001"),
        (["tcp://127.0.0.1:1", "--connections", "-1"], "connections"),
        (["tcp://127.0.0.1:1", "--framing", "cobs"], "use raw, line"),
        (["ws://127.0.0.1:1/", "--framing", "line"], "ws://"),
        (["tcp://127.0.0.1:1", "--rate", "0"], "rate"),
        (["tcp://127.0.0.1:1", "--pipeline", "2", "--send-after-receive"], "--pipeline 1"),
        (["tcp://127.0.0.1:1", "--fragment-delay", "1ms"], "needs --fragment"),
        (
            ["tcp://127.0.0.1:1", "--messages", "9" * 20],
            "messages is 99999999999999999999; it must",
        ),
        (["tcp://127.0.0.1:1", "--pipeline", "9" * 12], "pipeline is 999999999999; it must"),
        (["tcp://127.0.0.1:1", "--size", "9" * 400], "is too large: at most"),
        (["tcp://\udcff:1"], "has bytes that are not UTF-8"),
        (["tcp://192.0.2.1:1", "--sources", "2"], "127.0.0.0/8"),
    ],
)
def test_options_that_make_no_sense_are_refused_with_status_2(
    load: Load, arguments: list[str], words: str
) -> None:
    done = load(*arguments, json=False)
    assert done.status == 2
    assert words in done.errors
    assert "Traceback" not in done.errors


FEW_DESCRIPTORS = """
import ctypes, resource
drop_from_bounding_set, sys_resource = 24, 24  # linux/prctl.h, linux/capability.h
ctypes.CDLL(None).prctl(drop_from_bounding_set, sys_resource, 0, 0, 0)
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
"""
"""Leaves 200 descriptors and, where the test runs as root, no right to raise that."""


def test_too_few_descriptors_are_reported_with_the_number_and_the_remedy(load: Load) -> None:
    done = load("tcp://127.0.0.1:1", "--connections", 500, json=False, before=FEW_DESCRIPTORS)
    assert done.status == 2
    assert "500 connections need 564 file descriptors" in done.errors
    assert "`ulimit -n 564`" in done.errors
    assert "at most 136 connections" in done.errors


def test_people_get_throughput_latencies_and_a_verdict(serve: Serve, load: Load) -> None:
    done = load(serve(echo), "--connections", 2, "--messages", 10, json=False)
    assert done.status == 0
    assert "throughput" in done.output
    assert "99.9 %" in done.output
    assert "All 20 messages came back as they were sent." in done.output


def test_progress_goes_to_standard_error_line_by_line_without_a_terminal(
    serve: Serve, load: Load
) -> None:
    done = load(serve(echo), "--duration", "1200ms")
    lines = [line for line in done.errors.splitlines() if "sending" in line]
    assert len(lines) >= 2
    assert all(line.startswith("vespiary load:") for line in lines)


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end(serve: Serve) -> None:
    ours, theirs = pty.openpty()
    options = ["--connections", "2", "--duration", "1s"]
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        with os.fdopen(theirs, "wb", buffering=0) as screen:
            process = subprocess.Popen(
                [sys.executable, "-m", "vespiary", "load", serve(echo), *options],
                stdout=subprocess.PIPE,
                stderr=screen,
                env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
            )
        shown = b""
        # Reading from a terminal whose other end is closed is an error on Linux (EIO).
        with contextlib.suppress(OSError):
            while piece := terminal.read(65536):
                shown += piece
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"sending" in shown
    assert b"sent, " in shown
    assert b"\x1b[2K" in shown.rsplit(b"sent, ")[-1]
    assert b"came back as they were sent" in output


def test_people_get_the_first_problems_in_words(refusing_url: str, load: Load) -> None:
    done = load(refusing_url, "--connections", 25, json=False)
    assert done.status == 1
    assert "FAILED: 25 connections were refused." in done.output
    assert "refused: connection 0: connect: Connection refused" in done.output
    assert "and 5 more" in done.output


def test_the_report_is_written_to_a_file_beside_the_table(
    serve: Serve, load: Load, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    done = load(serve(echo), "--messages", 10, "--json", path, json=False)
    assert done.status == 0
    assert "throughput" in done.output
    report = json.loads(path.read_text())
    assert report["received"] == 10
    assert report["url"].startswith("tcp://127.0.0.1:")


def test_a_report_that_cannot_be_written_is_an_error(
    serve: Serve, load: Load, tmp_path: Path
) -> None:
    done = load(
        serve(echo), "--messages", 1, "--json", tmp_path / "none" / "report.json", json=False
    )
    assert done.status == 2
    assert "cannot be written" in done.errors


def test_a_full_disk_is_not_a_fault_of_the_server(serve: Serve, tmp_path: Path) -> None:
    url, path = serve(echo), tmp_path / "report.json"
    words = [sys.executable, "-m", "vespiary", "load", url, "--messages", "5"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, timeout=100)
    assert done.returncode == 2
    assert b"the report could not be printed: No space left" in done.stderr
    words += ["--html", "/dev/full", "--json", str(path)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=100)
    assert done.returncode == 2
    assert b"All 5 messages came back" in done.stdout
    assert json.loads(path.read_text())["clean"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_reports_what_it_did(
    serve: Serve, interrupted_load: Load, number: int
) -> None:
    done = interrupted_load(serve(echo), "--duration", "60s", number=number)
    assert done.status == 130
    assert done.report["received"] > 0
    assert not done.report["complete"]


def test_a_closed_pipe_at_standard_output_is_not_a_fault(serve: Serve) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        done = subprocess.run(
            [sys.executable, "-m", "vespiary", "load", serve(echo), "--messages", "5"],
            stdout=nobody, stderr=nobody, timeout=100,
        )  # fmt: skip
    assert done.returncode == 0


def test_a_run_without_messages_claims_nothing_about_messages(serve: Serve, load: Load) -> None:
    done = load(serve(echo), "--messages", 0, "--connections", 3, json=False)
    assert done.status == 0
    assert "3 connections were opened and closed; no message was sent." in done.output
    assert "came back" not in done.output


def test_no_table_of_latencies_is_printed_without_latencies(refusing_url: str, load: Load) -> None:
    done = load(refusing_url, json=False)
    assert done.status == 1
    assert "latency" not in done.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rate", 10, "--pipeline", 8], "limited by   the rate of 10 messages/s"),
        ([], "limited by   waiting for echoes, with 1 message in flight"),
    ],
)
def test_the_report_says_what_limited_the_run(
    serve: Serve, load: Load, options: list[object], words: str
) -> None:
    def slowly(connection: socket.socket) -> None:
        while received := connection.recv(65536):
            threading.Event().wait(0.005)
            connection.sendall(received)

    assert words in load(serve(slowly), "--messages", 12, *options, json=False).output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("p99", "is not NAME SIGN VALUE"),
        ("p99 < 5", "a time needs its unit, one of ms, s, us, ns or min: did you mean 5ms?"),
        ("p99 < 5x", "'x' is not a unit of time"),
        ("p999 < 5ms", "'p999' is not measured"),
        ("eror == 0", "did you mean 'errors'?"),
        ("latency < 5ms", "use p50, p99.9 and other percentiles"),
        ("errors = 0", "'=' is not a comparison; did you mean '=='?"),
        ("errors == none", "'none' is not a number"),
        ("errors == 5ms", "errors takes a number such as 10000, and not the unit 'ms'"),
        ("rate > 10k/s", "rate takes a number such as 10000, and not the unit 'k/s'"),
    ],
)
def test_an_expectation_that_is_none_says_what_is_wrong(load: Load, text: str, words: str) -> None:
    done = load("tcp://127.0.0.1:1", "--expect", text, json=False)
    assert done.status == 2
    assert words in done.errors


def test_expectations_that_are_met_are_listed(serve: Serve, load: Load) -> None:
    expected = ["p99 < 30s", "p99.9<=30s", "errors == 0", "rate > 1/s", "received == 20"]
    options = [part for text in expected for part in ("--expect", text)]
    url = serve(echo)
    done = load(url, "--messages", 20, *options, json=False)
    assert done.status == 0
    assert "expected errors == 0: met, 0" in done.output
    told = load(url, "--messages", 20, *options).report["expectations"]
    assert [each["text"] for each in told] == expected
    assert all(each["met"] for each in told)


def test_an_expectation_that_is_not_met_has_an_exit_status_of_its_own(
    serve: Serve, load: Load
) -> None:
    options = ["--expect", "mean > 1min", "--expect", "connect.p50 < 30s", "--messages", 5]
    done = load(serve(echo), *options, json=False)
    assert done.status == 3
    assert "FAILED: expected mean > 1min, but it was" in done.output
    assert "expected connect.p50 < 30s: met" in done.output


def test_a_latency_that_was_not_measured_meets_no_expectation(serve: Serve, load: Load) -> None:
    assert load(serve(echo), "--messages", 0, "--expect", "p99 < 30s").status == 3


def test_the_json_object_has_the_plan_a_histogram_and_a_series(serve: Serve, load: Load) -> None:
    report = load(serve(echo), "--messages", 200, "--rate", 400, "--connections", 2).report
    assert report["version"] == 1
    assert report["plan"]["rate"] == 400
    assert report["plan"]["messages"] == 200
    assert sum(count for _, count in report["latency_histogram"]) == 400
    quickest, slowest = report["latency_histogram"][0][0], report["latency_histogram"][-1][0]
    latency = report["latency_seconds"]
    assert quickest / 1e9 == pytest.approx(latency["minimum"], rel=0.01)
    assert slowest / 1e9 == pytest.approx(latency["maximum"], rel=0.01)
    series = report["series"]
    assert sum(point["received"] for point in series) == 400
    assert len(series) >= 9
    for one, following in itertools.pairwise(series):
        end = one["start_seconds"] + one["seconds"]
        assert following["start_seconds"] == pytest.approx(end)


def test_the_page_shows_the_verdict_and_loads_nothing(
    serve: Serve, load: Load, tmp_path: Path
) -> None:
    path = tmp_path / "load.html"
    done = load(
        serve(echo), "--messages", 200, "--rate", 400, "--expect", "p50 > 30s",
        "--html", path, json=False,
    )  # fmt: skip
    assert done.status == 3
    page = path.read_text()
    assert "Not as expected: p50 &gt; 30s" in page
    assert page.count("<figure") == 2
    assert "<h2>Latency by percentile</h2>" in page
    assert "src=" not in page
    assert "href=" not in page


def test_a_moment_at_the_end_of_a_run_draws_no_peak() -> None:
    assert page._rates([(100, 0.1), (100, 0.1), (50, 0.01)]) == (
        [0.1, pytest.approx(0.21)],
        [1000.0, pytest.approx(150 / 0.11)],
    )
    assert page._rates([(100, 0.1), (50, 0.1)])[1] == [1000.0, 500.0]


def test_one_seed_sends_the_same_bytes_again(serve: Serve, load: Load) -> None:
    streams: list[bytes] = []

    def keep(connection: socket.socket) -> None:
        stream = b""
        while received := connection.recv(65536):
            stream += received
            connection.sendall(received)
        streams.append(stream)

    url = serve(keep)
    for seed in (5, 5, 6):
        assert load(url, "--messages", 30, "--seed", seed, "--fragment").report["seed"] == seed
    assert streams[0] == streams[1] != streams[2]
