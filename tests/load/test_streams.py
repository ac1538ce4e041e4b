"""The verdict on servers of plain streams: right about right ones and about wrong ones."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

Echo = Callable[[socket.socket], None]

if TYPE_CHECKING:
    from tests.load.conftest import Load, Serve

pytestmark = pytest.mark.acceptance


def echo(connection: socket.socket) -> None:
    while received := connection.recv(65536):
        connection.sendall(received)


def echo_and_close(connection: socket.socket) -> None:
    with connection:
        echo(connection)


def echo_after(change: Callable[[bytearray, int], bytes]) -> Echo:
    """An echo that changes what passes; `change` gets a piece and its place in the stream."""

    def run(connection: socket.socket) -> None:
        place = 0
        while received := connection.recv(65536):
            connection.sendall(change(bytearray(received), place))
            place += len(received)

    return run


def alter_byte(at: int) -> Callable[[bytearray, int], bytes]:
    def change(piece: bytearray, place: int) -> bytes:
        if place <= at < place + len(piece):
            piece[at - place] ^= 0x20
        return bytes(piece)

    return change


def drop_byte(at: int) -> Callable[[bytearray, int], bytes]:
    def change(piece: bytearray, place: int) -> bytes:
        if place <= at < place + len(piece):
            del piece[at - place]
        return bytes(piece)

    return change


def add_byte(at: int) -> Callable[[bytearray, int], bytes]:
    def change(piece: bytearray, place: int) -> bytes:
        if place <= at < place + len(piece):
            piece.insert(at - place, piece[at - place] ^ 0xFF)
        return bytes(piece)

    return change


@pytest.mark.parametrize("framing", ["raw", "line", "crlf", "length", "length:2le+self"])
def test_a_true_echo_passes_and_every_message_is_counted(
    serve: Serve, load: Load, driver: str, framing: str
) -> None:
    done = load(
        serve(echo), "--connections", 5, "--messages", 40, "--pipeline", 4,
        "--framing", framing, "--driver", driver,
    )  # fmt: skip
    assert done.status == 0, done.errors
    report = done.report
    assert report["clean"]
    assert report["complete"]
    assert (report["connected"], report["sent"], report["received"]) == (5, 200, 200)
    assert report["driver"] == driver
    assert report["latency_seconds"]["count"] == 200
    assert report["bytes_sent"] == report["bytes_received"] >= 200 * 32


@pytest.mark.parametrize(
    "options",
    [
        ["--send-after-receive"],
        ["--pipeline", 0],
        ["--pipeline", 16, "--size", "100KiB"],
        ["--text", "--framing", "line", "--size", 1001],
        ["--fragment", "--framing", "length", "--pipeline", 3],
        ["--sources", 3],
        ["--rate", 2000],
        ["--size", 0, "--framing", "length"],
    ],
    ids=str,
)
def test_a_true_echo_passes_in_every_way_of_sending(
    serve: Serve, load: Load, options: list[object]
) -> None:
    done = load(serve(echo), "--connections", 4, "--messages", 25, *options)
    assert done.status == 0, done.output + done.errors
    assert done.report["received"] == 100


def test_sources_are_the_addresses_that_the_server_sees(serve: Serve, load: Load) -> None:
    seen: list[str] = []

    def note(connection: socket.socket) -> None:
        seen.append(connection.getpeername()[0])
        echo(connection)

    assert load(serve(note), "--connections", 6, "--messages", 1, "--sources", 3).status == 0
    assert sorted(seen) == sorted(["127.0.0.1", "127.0.0.2", "127.0.0.3"] * 2)


def test_an_echo_that_comes_byte_by_byte_passes(serve: Serve, load: Load) -> None:
    def trickle(connection: socket.socket) -> None:
        while received := connection.recv(65536):
            for byte in received:
                connection.sendall(bytes([byte]))

    done = load(serve(trickle), "--messages", 20, "--framing", "length")
    assert done.status == 0, done.errors


def test_a_unix_socket_is_loaded_like_a_tcp_port(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def accept() -> None:
            for _ in range(20):
                connection, _ = listener.accept()
                threading.Thread(target=echo_and_close, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        done = load(f"unix://{path}", "--connections", 20, "--messages", 5)
    assert done.status == 0, done.output + done.errors
    assert done.report["received"] == 100


def test_an_altered_byte_is_found_where_it_is(serve: Serve, load: Load) -> None:
    done = load(serve(echo_after(alter_byte(325))), "--messages", 50, "--pipeline", 4)
    assert done.status == 1
    report, problem = done.report, done.problem
    assert (report["altered"], report["lost"], report["received"]) == (1, 0, 50)
    assert (problem["fault"], problem["message"], problem["offset"]) == ("altered", 10, 5)
    expected, got = bytes.fromhex(problem["expected"]), bytes.fromhex(problem["got"])
    assert expected[0] ^ got[0] == 0x20
    assert expected[1:8] == got[1:8]


def test_a_dropped_byte_is_reported_apart_from_altered_ones(serve: Serve, load: Load) -> None:
    done = load(
        serve(echo_after(drop_byte(325))), "--messages", 200, "--pipeline", 32, "--timeout", "1s"
    )
    assert done.status == 1
    assert done.report["altered"] == 1
    assert done.report["received"] == 200
    assert done.problem["text"] == "1 byte is missing"
    assert (done.problem["message"], done.problem["offset"]) == (10, 5)


def test_an_added_byte_is_reported_apart_from_altered_ones(serve: Serve, load: Load) -> None:
    done = load(serve(echo_after(add_byte(325))), "--messages", 200, "--pipeline", 32)
    assert done.status == 1
    assert done.report["altered"] >= 1
    assert done.problem["text"] == "1 byte was added"


def test_a_byte_dropped_from_a_lone_message_loses_that_message(serve: Serve, load: Load) -> None:
    done = load(serve(echo_after(drop_byte(31))), "--messages", 5, "--timeout", "500ms")
    assert done.status == 1
    assert (done.report["lost"], done.report["unsent"], done.report["received"]) == (1, 4, 0)
    assert (done.problem["fault"], done.problem["offset"]) == ("lost", 31)
    assert "no echo for" in done.problem["text"]


def test_bytes_that_answer_nothing_are_extra(serve: Serve, load: Load) -> None:
    def talkative(connection: socket.socket) -> None:
        while received := connection.recv(65536):
            connection.sendall(received + b"0123456789")

    done = load(serve(talkative), "--messages", 1, "--size", 10)
    assert done.status == 1
    assert done.report["extra_bytes"] == 10
    assert done.problem["fault"] == "extra"


def test_a_line_without_its_end_is_an_alteration(serve: Serve, load: Load) -> None:
    def strip(connection: socket.socket) -> None:
        while received := connection.recv(65536):
            connection.sendall(received.replace(b"\n", b"\r\n"))

    done = load(serve(strip), "--framing", "line", "--messages", 3, "--timeout", "1s")
    assert done.status == 1
    assert done.problem["fault"] == "altered"
    assert done.problem["offset"] == 32


def test_refused_connections_are_counted_and_nothing_hangs(
    refusing_url: str, load: Load, driver: str
) -> None:
    done = load(refusing_url, "--connections", 30, "--messages", 5, "--driver", driver)
    assert done.status == 1
    assert (done.report["refused"], done.report["connected"], done.report["sent"]) == (30, 0, 0)
    assert len(done.report["problems"]) == 20
    assert done.report["problems_omitted"] == 10
    assert "Connection refused" in done.problem["text"]


def test_a_server_that_stalls_loses_what_is_in_flight(
    serve: Serve, load: Load, driver: str
) -> None:
    def stall(connection: socket.socket) -> None:
        connection.recv(65536)
        time.sleep(40)

    began = time.monotonic()
    done = load(
        serve(stall), "--connections", 3, "--messages", 10, "--pipeline", 4,
        "--timeout", "500ms", "--driver", driver,
    )  # fmt: skip
    assert time.monotonic() - began < 20
    assert done.status == 1
    report = done.report
    assert (report["lost"], report["unsent"], report["received"]) == (12, 18, 0)
    assert done.problem["fault"] == "lost"


def test_a_server_that_never_reads_is_not_waited_for_forever(serve: Serve, load: Load) -> None:
    def ignore(connection: socket.socket) -> None:
        time.sleep(40)

    done = load(
        serve(ignore), "--pipeline", 0, "--size", "64KiB", "--duration", "20s", "--timeout", "500ms"
    )
    assert done.status == 1
    assert done.report["lost"] > 0
    assert done.report["bytes_sent"] < 64 << 20


def test_an_early_close_is_reported_with_what_it_lost(
    serve: Serve, load: Load, driver: str
) -> None:
    def leave(connection: socket.socket) -> None:
        for _ in range(3):
            connection.sendall(connection.recv(32, socket.MSG_WAITALL))

    done = load(serve(leave), "--connections", 2, "--messages", 10, "--driver", driver)
    assert done.status == 1
    report = done.report
    assert report["closed"] + report["reset"] == 2
    assert report["received"] == 6
    assert report["lost"] + report["unsent"] == 14


def test_a_reset_is_reported_as_one(serve: Serve, load: Load) -> None:
    def slam(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    done = load(serve(slam), "--messages", 10)
    assert done.status == 1
    assert (done.report["reset"], done.report["lost"], done.report["unsent"]) == (1, 1, 9)


def test_fragment_finds_the_server_that_takes_each_read_for_a_message(
    serve: Serve, load: Load
) -> None:
    def careless(connection: socket.socket) -> None:
        while head := connection.recv(4):
            size = int.from_bytes(head, "big")
            connection.sendall(head + connection.recv(size))

    url = serve(careless)
    options = ["--framing", "length", "--messages", 50, "--timeout", "1s", "--seed", 1]
    assert load(url, *options).status == 0
    assert load(url, *options, "--fragment").status == 1


def test_a_rate_is_kept_and_a_stall_shows_in_the_latency(serve: Serve, load: Load) -> None:
    def pause_once(connection: socket.socket) -> None:
        connection.sendall(connection.recv(65536))
        time.sleep(0.5)
        echo(connection)

    done = load(serve(pause_once), "--messages", 100, "--rate", 100)
    assert done.status == 0
    report = done.report
    assert 0.9 < report["seconds"] < 2
    # Every message that was due in the pause waited, not only the one that was in flight.
    assert report["latency_seconds"]["p90"] > 0.3


def test_held_connections_stay_open_until_the_hold_is_over(serve: Serve, load: Load) -> None:
    ends: list[float] = []

    def note(connection: socket.socket) -> None:
        echo(connection)
        ends.append(time.monotonic())

    began = time.monotonic()
    done = load(serve(note), "--connections", 4, "--messages", 0, "--hold", "1s")
    assert done.status == 0
    assert (done.report["connected"], done.report["sent"]) == (4, 0)
    assert len(ends) == 4
    assert min(ends) - began >= 1


def test_a_duration_ends_the_sending_and_waits_for_what_is_in_flight(
    serve: Serve, load: Load
) -> None:
    done = load(serve(echo), "--connections", 3, "--duration", "300ms", "--pipeline", 8)
    assert done.status == 0
    report = done.report
    assert report["sent"] == report["received"] > 0
    assert 0.25 < report["seconds"] < 5


def test_a_reset_at_the_close_is_reported(serve: Serve, load: Load) -> None:
    def slam(connection: socket.socket) -> None:
        echo(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    done = load(serve(slam), "--messages", 10)
    assert done.status == 1
    assert (done.report["reset"], done.report["received"]) == (1, 10)
    assert done.problem["text"].startswith("while closing: ")


def mute(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def test_an_interrupt_ends_a_run_on_a_mute_server_at_once(
    serve: Serve, interrupted_load: Load
) -> None:
    began = time.monotonic()
    done = interrupted_load(serve(mute), "--connections", 3, "--timeout", "40s")
    assert time.monotonic() - began < 20
    assert done.status == 130
    report = done.report
    assert (report["sent"], report["received"], report["abandoned"]) == (3, 0, 3)
    assert report["lost"] == 0


def test_an_interrupt_says_how_many_messages_came_back(
    serve: Serve, interrupted_load: Load
) -> None:
    done = interrupted_load(serve(mute), "--connections", 3, json=False)
    assert done.status == 130
    assert "The run was stopped before its end; 3 messages were still in flight." in done.output
    assert "0 of 3 messages came back, as they were sent." in done.output


def test_an_interrupt_ends_the_run_with_a_report(serve: Serve, interrupted_load: Load) -> None:
    done = interrupted_load(serve(echo), "--connections", 3, "--duration", "60s")
    assert done.status == 130
    assert not done.report["complete"]
    assert done.report["sent"] == done.report["received"]
