"""`Loop(driver="sim")`: virtual time, a simulated network, faults from a seed."""

import asyncio
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import vespiary
from vespiary.loop import Loop
from vespiary.testing import Faults, run, serve, simulated


class Echo(vespiary.Handler[str]):
    def on_message(self, connection: vespiary.Connection[str], message: str) -> None:
        connection.send(message)


class Silent(vespiary.Handler[str]):
    pass


def test_an_hour_of_sleep_takes_no_time() -> None:
    async def main() -> float:
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(3000)
        return asyncio.get_running_loop().time() - began

    began = time.monotonic()
    assert 3000 <= run(main()) < 3001
    assert time.monotonic() - began < 30


def test_timers_fire_in_their_order_at_their_times() -> None:
    async def main() -> list[tuple[str, int]]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        fired: list[tuple[str, int]] = []

        def fire(name: str) -> None:
            fired.append((name, round(loop.time() - began)))

        for name, seconds in (("c", 300.0), ("a", 1.0), ("b", 2.0)):
            loop.call_later(seconds, fire, name)
        await asyncio.sleep(301)
        return fired

    assert run(main()) == [("a", 1), ("b", 2), ("c", 300)]


def test_deadlines_of_connections_pass_in_virtual_time() -> None:
    async def main() -> vespiary.CloseReason:
        deadlines = vespiary.Deadlines(idle_seconds=900, ping_interval_seconds=None)
        async with serve(Silent(), deadlines=deadlines) as server:
            client = await server.connect(deadlines=vespiary.Deadlines(ping_interval_seconds=None))
            began = asyncio.get_running_loop().time()
            reason = await client.wait_closed()
            assert 900 <= asyncio.get_running_loop().time() - began < 910
            return reason

    assert run(main()).side == "remote"


def test_pings_keep_a_silent_connection_open_for_hours() -> None:
    async def main() -> bool:
        async with serve(Silent()) as server, server.connect() as client:
            await asyncio.sleep(7200)
            return client.is_open

    assert run(main(), timeout=None)


def test_a_wait_for_what_never_happens_fails_at_once_and_names_the_seed() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError) as caught:
        run(main(), seed=41, faults="harsh")
    (note,) = caught.value.__notes__
    assert "seed=41, faults='harsh'" in note
    assert "VESPIARY_SEED=41" in note


def test_a_deadline_is_not_over_before_a_thread_has_done_its_work() -> None:
    finished = threading.Event()

    async def main() -> str:
        async with asyncio.timeout(50):
            await asyncio.to_thread(finished.wait, 0.1)
            return "done"

    assert run(main()) == "done"


def test_another_thread_can_call_into_the_loop_at_any_time() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        thread = threading.Thread(
            target=lambda: loop.call_soon_threadsafe(answer.set_result, "called")
        )
        thread.start()
        try:
            return await answer
        finally:
            thread.join()

    # Without a timeout nothing is scheduled, so that the loop really waits.
    assert run(main(), timeout=None) == "called"


def test_real_sockets_work_beside_the_simulated_ones() -> None:
    async def main() -> bytes:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.send(b"hello")
            return await asyncio.get_running_loop().sock_recv(ours, 5)

    assert run(main()) == b"hello"


def test_nothing_listens_on_a_real_port() -> None:
    async def main() -> None:
        async with serve(Echo(), "tcp://127.0.0.1:9001") as server:
            assert server.url == "tcp://127.0.0.1:9001"
            with pytest.raises(ConnectionRefusedError):
                await asyncio.to_thread(socket.create_connection, ("127.0.0.1", 9001), 5)

    with contextless_port(9001):
        run(main())


def contextless_port(port: int) -> socket.socket:
    """Keep real programs off a port; it does not listen."""
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", port))
    return kept


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "10.1.2.3"])
def test_a_server_on_all_addresses_is_reached_under_each(host: str) -> None:
    async def main() -> str:
        async with serve(Echo(), "ws://0.0.0.0:80"), vespiary.connect(f"ws://{host}") as client:
            client.send("hello")
            return str(await client.receive())

    assert run(main()) == "hello"


def test_a_name_that_the_simulated_network_does_not_know_is_refused() -> None:
    async def main() -> None:
        await vespiary.connect("ws://example.com")

    with pytest.raises(socket.gaierror, match="use an IP address or localhost"):
        run(main())


async def story() -> list[object]:
    """What can be seen of a conversation, with its times."""
    loop = asyncio.get_running_loop()
    told: list[object] = []
    async with serve(Echo()) as server, server.connect() as client:
        for number in range(30):
            client.send(str(number) * random.randrange(1, 3000))
            told.append((len(await client.receive()), loop.time()))
        told.append(client.statistics())
    told.append(loop.time())
    return told


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    stories = []
    for seed in (1, 1, 2):
        random.seed(5)
        stories.append(run(story(), seed=seed, faults="lossless"))
    assert stories[0] == stories[1]
    assert stories[0] != stories[2]


def test_resets_happen_and_are_reported_to_the_client() -> None:
    async def main() -> None:
        async with serve(Echo()) as server, server.connect() as client:
            for _ in range(2000):
                client.send("hello")
                await client.receive()

    with pytest.raises((vespiary.ConnectionBroken, ConnectionResetError)):
        run(main(), seed=3, faults=Faults(resets=0.01))


def test_buffers_run_out_and_nothing_is_lost() -> None:
    async def main() -> int:
        async with serve(Echo()) as server, server.connect() as client:
            for _ in range(100):
                client.send("x" * 1000)
                assert len(await client.receive()) == 1000
            return server.server.statistics().port.buffers_exhausted

    assert run(main(), seed=1, faults=Faults(exhausted_buffers=0.5)) > 0


def test_bytes_may_come_one_by_one() -> None:
    async def main() -> int:
        pieces = []

        class Pieces(vespiary.Handler[bytes]):
            def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
                pieces.append(message)

        async with serve(Pieces(), "tcp") as server, server.connect() as client:
            client.send(b"hello world")
            await asyncio.sleep(1)
        return len(pieces)

    assert run(main(), faults=Faults(read_bytes_max=1)) == 11


def test_a_decorated_test_runs_for_each_seed_and_the_failing_one_is_named() -> None:
    seeds: list[int] = []

    @simulated(seeds=10)
    async def example() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        seeds.append(getattr(loop, "seed", -1))
        assert len(seeds) < 4

    with pytest.raises(AssertionError) as caught:
        example()
    assert seeds == [0, 1, 2, 3]
    assert "seed=3" in caught.value.__notes__[0]


def test_a_seed_of_the_environment_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    @simulated(seeds=10)
    async def example() -> None:
        drawn.append(random.random())

    monkeypatch.setenv("VESPIARY_SEED", "7")
    example()
    example()
    assert len(drawn) == 2
    assert drawn[0] == drawn[1]
    monkeypatch.setenv("VESPIARY_SEED", "seven")
    with pytest.raises(vespiary.ConfigurationError, match="must be a whole number; got 'seven'"):
        example()


def test_seed_and_faults_on_a_real_driver_are_an_error() -> None:
    with pytest.raises(vespiary.ConfigurationError, match="add driver='sim'"):
        Loop(driver="epoll", seed=1)
    with pytest.raises(vespiary.ConfigurationError, match="add driver='sim'"):
        Loop(faults="harsh")


def test_the_environment_cannot_make_a_server_a_simulation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VESPIARY_DRIVER", "sim")
    with pytest.raises(vespiary.ConfigurationError, match="serves no real clients"):
        Loop()


def test_misspelt_and_impossible_faults_are_errors() -> None:
    with pytest.raises(vespiary.ConfigurationError, match="did you mean 'lossless'"):
        Loop(driver="sim", faults="losless")  # type: ignore[arg-type]
    with pytest.raises(vespiary.ConfigurationError, match=r"Faults.resets .* got 2"):
        Faults(resets=2)
    with pytest.raises(vespiary.ConfigurationError, match=r"Faults.read_bytes_max .* got 0"):
        Faults(read_bytes_max=0)


def test_in_a_running_loop_the_advice_is_to_decorate_the_test() -> None:
    async def inner() -> None: ...

    async def main() -> None:
        with pytest.raises(RuntimeError, match="simulated"):
            run(inner())

    run(main())


def test_the_end_of_virtual_time_is_an_error() -> None:
    with pytest.raises(OSError, match="clock ends 584 years after its start"):
        run(asyncio.sleep(1e12), timeout=None)


def test_tasks_are_cancelled_at_the_end_of_virtual_time() -> None:
    """A task that is left would be reported whenever the garbage collector finds it."""
    cancelled: list[str] = []

    async def main() -> None:
        try:
            await asyncio.sleep(1e12)
        except asyncio.CancelledError:
            cancelled.append("cancelled")
            raise

    with pytest.raises(OSError, match="clock ends"):
        run(main(), timeout=None)
    assert cancelled == ["cancelled"]


@pytest.mark.parametrize("faults", [{}, [], 5, True, "mild"])
def test_the_error_for_faults_of_a_wrong_type_says_what_there_is(faults: Any) -> None:
    async def nothing() -> None: ...

    with pytest.raises(vespiary.ConfigurationError, match="faults must be 'lossless', 'harsh'"):
        vespiary.testing.run(nothing(), faults=faults)


def test_a_subprocess_is_refused_with_what_to_do_instead() -> None:
    async def child(start: Callable[..., Any]) -> None:
        await start("true")

    for start in (asyncio.create_subprocess_exec, asyncio.create_subprocess_shell):
        with pytest.raises(RuntimeError, match="to_thread"):
            vespiary.testing.run(child(start))
