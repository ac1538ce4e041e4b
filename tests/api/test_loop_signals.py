"""Signals while Vespiary's loop runs, as with any loop of asyncio."""

import asyncio
import os
import signal

import pytest

import vespiary
from tests.waiting import forever, signal_when_asleep
from vespiary.loop import Loop


def test_signals_are_handled_in_the_loop(loop: Loop) -> None:
    calls: list[int] = []

    def handle(number: int) -> None:
        calls.append(number)
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, handle, signal.SIGUSR1)
    loop.call_later(0.01, os.kill, os.getpid(), signal.SIGUSR1)
    loop.run_forever()
    assert calls == [signal.SIGUSR1]
    assert loop.remove_signal_handler(signal.SIGUSR1)


def test_a_plain_signal_handler_runs_while_the_loop_sleeps(loop: Loop) -> None:
    class Seen(Exception):
        """Raised by the handler."""

    def handle(number: int, frame: object) -> None:
        raise Seen

    awake: list[bool] = []
    loop.call_later(60, awake.append, True)
    before = signal.signal(signal.SIGUSR2, handle)
    try:
        sender = signal_when_asleep(signal.SIGUSR2)
        with pytest.raises(Seen):
            loop.run_forever()
        assert not awake
        sender.join()
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_keyboard_interrupt_ends_run(driver: str) -> None:
    async def main() -> None:
        signal_when_asleep(signal.SIGINT)
        await forever()

    with pytest.raises(KeyboardInterrupt):
        vespiary.run(main(), driver=driver)


@pytest.mark.parametrize("debug", [True, False])
def test_run_takes_debug_as_asyncio_does(debug: bool, driver: str) -> None:
    async def main() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert vespiary.run(main(), debug=debug, driver=driver) is debug


def test_a_signal_between_two_runs_reaches_its_handler(driver: str) -> None:
    loop = Loop(driver=driver)
    arrived = asyncio.Event()

    async def add() -> None:
        loop.add_signal_handler(signal.SIGUSR1, arrived.set)

    try:
        loop.run_until_complete(add())
        os.kill(os.getpid(), signal.SIGUSR1)
        loop.run_until_complete(asyncio.wait_for(arrived.wait(), 20))
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)
        loop.close()


def test_signals_wake_the_loop_after_its_last_signal_handler_is_gone(driver: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, list)
        loop.remove_signal_handler(signal.SIGUSR1)
        wakes = signal.set_wakeup_fd(-1)
        assert wakes != -1
        signal.set_wakeup_fd(wakes)

    before = signal.set_wakeup_fd(-1)
    try:
        vespiary.run(main(), driver=driver)
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.set_wakeup_fd(before)
