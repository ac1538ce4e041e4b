"""The command itself: usage, what it prints, and where it writes its report."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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
        (["tcp://127.0.0.1:1", "--pipeline", "2", "--send-after-receive"], "pipeline of 1"),
        (["tcp://127.0.0.1:1", "--fragment-delay", "1ms"], "needs --fragment"),
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
        output, _ = process.communicate(timeout=30)
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
    assert "could not be written" in done.errors


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
