"""The synchronous client at its ends: interrupts, dropped connections, forks and exits."""

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings

import pytest

import vespiary
from tests.waiting import wait_until
from vespiary import _background, sync

from .conftest import Serving
from .kit import Echo, Silent, on_a_thread


def test_an_interrupt_leaves_the_connection_sound(serving: Serving) -> None:
    main = threading.main_thread().ident
    assert main is not None
    with sync.connect(serving(Echo).url) as connection:

        def interrupt() -> None:
            time.sleep(0.1)
            signal.pthread_kill(main, signal.SIGINT)

        with on_a_thread(interrupt), pytest.raises(KeyboardInterrupt):
            connection.receive(10)
        connection.send("still here")
        assert connection.receive(10) == "still here"


def test_an_interrupted_connect_leaves_nothing_behind() -> None:
    main = threading.main_thread().ident
    assert main is not None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def interrupt() -> None:
            accepted.append(listener.accept()[0])
            signal.pthread_kill(main, signal.SIGINT)

        accepted: list[socket.socket] = []
        with on_a_thread(interrupt), pytest.raises(KeyboardInterrupt):
            sync.connect(f"ws://127.0.0.1:{listener.getsockname()[1]}")
        with accepted[0] as peer:
            peer.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                while peer.recv(1000):
                    pass


def check_all_close() -> None:
    """Wait until no connection of the synchronous client is open."""
    wait_until(lambda: not _background.background().open)


def test_a_connection_that_is_dropped_warns_and_closes(serving: Serving) -> None:
    running = serving(Silent)
    connection = sync.connect(running.url)
    with pytest.warns(ResourceWarning, match="never closed"):
        del connection
    gc.collect()
    check_all_close()


def test_a_dropped_connection_is_closed_where_its_warning_is_an_error_too(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: unraisable.append(it.exc_type))
    connection = sync.connect(serving(Silent).url)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del connection
        gc.collect()
    check_all_close()
    assert unraisable == [ResourceWarning]


def test_a_child_of_a_fork_has_a_loop_of_its_own(serving: Serving, driver: str) -> None:
    program = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import vespiary
url = sys.argv[1]
with vespiary.sync.connect(url) as connection:
    connection.send("parent")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            try:
                connection.send("child")
            except RuntimeError as error:
                assert "before a fork" in str(error), error
                with vespiary.sync.connect(url) as own:
                    own.send("own")
                    assert own.receive(10) == "own"
                code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert connection.receive(10) == "parent"
    connection.send("after")
    assert connection.receive(10) == "after"
print("sound")
"""
    assert run_program(program, serving(Echo).url, driver) == "sound\n"


def test_the_interpreters_exit_closes_what_is_open(serving: Serving, driver: str) -> None:
    reasons: list[vespiary.CloseReason] = []

    class Noting(Silent):
        def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            reasons.append(reason)

    program = """
import sys, threading
import vespiary
kept = [vespiary.sync.connect(sys.argv[1]) for _ in range(3)]
threading.Thread(target=lambda: list(kept[0]), daemon=True).start()
print("done")
"""
    running = serving(Noting)
    began = time.monotonic()
    assert run_program(program, running.url, driver) == "done\n"
    assert time.monotonic() - began < 10
    running.stop()
    assert [(reason.side, reason.code) for reason in reasons] == [("remote", 1001)] * 3


@pytest.mark.parametrize(
    "start",
    [
        "threading.Thread(target=listen).start()",
        "threading.Thread(target=listen, daemon=True).start()",
        "concurrent.futures.ThreadPoolExecutor().submit(listen)",
    ],
)
def test_a_thread_that_waits_for_messages_ends_with_the_main_thread_that_connected(
    serving: Serving, driver: str, start: str
) -> None:
    program = f"""
import sys, threading
import vespiary
connection = vespiary.sync.connect(sys.argv[1])
import concurrent.futures
def listen():
    print(list(connection), connection.close_reason.code, flush=True)
connection.send("x")
{start}
connection.ping()
print("done")
"""
    lines = run_program(program, serving(Echo).url, driver).splitlines()
    assert "done" in lines
    if "daemon" not in start:
        assert "['x'] 1001" in lines


def test_a_thread_with_a_connection_of_its_own_outlives_the_main_thread(
    serving: Serving, driver: str
) -> None:
    program = """
import sys, threading
import vespiary
def listen():
    with vespiary.sync.connect(sys.argv[1]) as connection:
        connected.set()
        threading.main_thread().join()
        for number in range(3):
            connection.send(str(number))
            print(connection.receive(10), flush=True)
connected = threading.Event()
threading.Thread(target=listen).start()
connected.wait()
print("done", flush=True)
"""
    assert run_program(program, serving(Echo).url, driver).split() == ["done", "0", "1", "2"]


def test_an_exit_does_not_wait_long_for_a_peer_that_is_gone(driver: str) -> None:
    program = """
import sys
import vespiary
kept = vespiary.sync.connect(sys.argv[1])
kept.send("x")
print("done")
"""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        began = time.monotonic()
        assert run_program(program, url, driver) == "done\n"
        assert time.monotonic() - began < 10


def run_program(program: str, url: str, driver: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, url],
        env={**os.environ, "VESPIARY_DRIVER": driver},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def test_a_fin_behind_messages_that_nobody_receives_is_noticed(serving: Serving) -> None:
    async def floods(connection: vespiary.Connection) -> None:
        for _ in range(5_000):
            connection.send(b"a line")
            await connection.drain()
        connection.send_end()
        await connection.wait_closed()

    running = serving(floods, "tcp://127.0.0.1:0", framing="line")
    limits = vespiary.Limits(inbox_messages_max=1)
    with sync.connect(running.url, framing="line", limits=limits) as connection:
        reason = connection.wait_closed(30)
        assert len(list(connection)) == 5_000
    assert (reason.side, reason.kind) == ("remote", "closed")


def test_messages_before_a_fin_are_received_after_a_wait_for_the_end_that_timed_out(
    serving: Serving,
) -> None:
    async def floods(connection: vespiary.Connection) -> None:
        for _ in range(5_000):
            connection.send(b"a line")
            await connection.drain()
        await connection.receive()

    running = serving(floods, "tcp://127.0.0.1:0", framing="line")
    limits = vespiary.Limits(inbox_messages_max=1)
    with sync.connect(running.url, framing="line", limits=limits) as connection:
        with pytest.raises(TimeoutError):
            connection.wait_closed(0.001)
        connection.send(b"now end")
        assert len(list(connection)) == 5_000


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_in_the_block_leaves_a_peer_that_reads_nothing_in_time(
    error: type[BaseException],
) -> None:
    """Without its bound the connection would wait for `write_seconds`, a minute."""
    deadlines = vespiary.Deadlines(close_seconds=0.05)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"tcp://127.0.0.1:{deaf.getsockname()[1]}"
        connection = sync.connect(url, deadlines=deadlines)
        with contextlib.suppress(TimeoutError):
            while True:
                connection.send(b"x" * 1_000_000, timeout=0.05)
        with pytest.raises(error), connection:
            raise error
        reason = connection.wait_closed(timeout=30)
        assert "lost" in str(reason)
