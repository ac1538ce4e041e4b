"""The asyncio loop whose selector is the completion port.

`Loop` is a `SelectorEventLoop` like any other to the libraries that run in it. Where other loops
ask the kernel which descriptors are ready, this one takes turns of the port: completions of
Vespiary's own connections are handled in place, natively, and asyncio gets control only when it has
something to do.
"""

import asyncio
import contextlib
import random
import signal
import socket
import threading
from collections.abc import Callable, Coroutine
from selectors import BaseSelector
from typing import Any, Self, TypeVar, cast
from weakref import WeakSet

# Loaded now, for when there is no descriptor left to load it with.
from vespiary import _logging as _logging
from vespiary._core import Core, keep_heap
from vespiary._faults import FaultNames, Faults, faults_of
from vespiary._option_checks import check_values
from vespiary._simulated import Simulated
from vespiary.errors import ConfigurationError
from vespiary.loop._driver import driver_of_environment
from vespiary.loop._native import NativeMethods
from vespiary.loop._selector import PortSelector

__all__ = ["Loop", "new_event_loop", "open_loops", "run", "run_until_exit"]

T = TypeVar("T")

_loops: WeakSet["Loop"] = WeakSet()


class Loop(NativeMethods):
    """An asyncio loop on a completion port.

    It may be created in one thread and run in another, like any asyncio loop. Once servers or
    connections were opened in it, it runs in that thread until they are closed.

    Args:
        selector: Another selector, as asyncio's `SelectorEventLoop` takes it. Vespiary's
            connections then run in the loop as they do in any that is not Vespiary's own.
        driver: `uring` or `epoll`; default: `VESPIARY_DRIVER` of the environment, and without it
            the best driver that works here. `sim` is for tests: sockets and time are simulated.
        spin_microseconds: How long to poll before sleeping when nothing is ready. Cuts a lone
            connection's latency, and costs a core's idle time: 0, the default, never polls.
        seed: With `sim`: everything that happens by chance follows from it. Default: any number.
        faults: With `sim`: what goes wrong, `lossless`, `harsh` or `vespiary.testing.Faults`.

    Raises:
        DriverUnavailable: the driver that was asked for does not work here.
        ConfigurationError: an argument is not valid, `seed` or `faults` on a driver that is not
            simulated, or a `VESPIARY_DRIVER` that is neither `uring` nor `epoll`.
    """

    # asyncio's, which its types leave out.
    _csock: socket.socket
    _signal_handlers: dict[int, object]

    def __new__(
        cls,
        selector: BaseSelector | None = None,
        *,
        driver: str | None = None,
        spin_microseconds: int = 0,
        seed: int | None = None,
        faults: Faults | FaultNames | None = None,
    ) -> Self:
        """A simulated loop is one of a class of its own, so that the others stay as they are."""
        is_simulated = driver == "sim"
        if not is_simulated and (seed is not None or faults is not None):
            raise ConfigurationError(
                "seed and faults belong to the simulation: add driver='sim'", subject="seed"
            )
        if is_simulated and cls is Loop:
            return cast("Self", super().__new__(_SimulatedLoop))
        return super().__new__(cls)

    def __init__(
        self,
        selector: BaseSelector | None = None,
        *,
        driver: str | None = None,
        spin_microseconds: int = 0,
        seed: int | None = None,
        faults: Faults | FaultNames | None = None,
    ) -> None:
        # What asyncio's __del__ looks at, should the driver not be available.
        self._closed = True
        check_values(driver=driver, spin_microseconds=spin_microseconds)
        if driver is None:
            driver = driver_of_environment()
        self._core: Core | None = None
        if selector is None:
            selector = self._open(driver, spin_microseconds, seed, faults)
        elif driver == "sim" or spin_microseconds:
            raise ConfigurationError(
                "a loop on another selector has no driver: remove selector, or driver and"
                " spin_microseconds",
                subject="selector",
            )
        super().__init__(selector)
        _loops.add(self)

    def _open(
        self,
        driver: str | None,
        spin_microseconds: int,
        seed: int | None,
        faults: Faults | FaultNames | None,
    ) -> PortSelector:
        if driver == "sim":
            self.seed = random.getrandbits(32) if seed is None else seed
            self._core = Core(driver, seed=self.seed, faults=faults_of(faults).native())
        else:
            self._core = Core(driver, spin_microseconds)
        self._begin_natively(self._core)
        selector = PortSelector(self._core)
        selector.attach(self)
        return selector

    def run_forever(self) -> None:
        """Run until `stop` is called. In the main thread a signal wakes the loop meanwhile.

        The interpreter calls a signal's handler between two of its instructions, so one that came
        just before the wait for completions, or to another thread, would be seen after it only.
        """
        before = self._let_signals_wake()
        try:
            super().run_forever()
        finally:
            if before is not None and not self._signal_handlers:
                signal.set_wakeup_fd(-1)
                # It may have been closed meanwhile.
                with contextlib.suppress(OSError, ValueError):
                    signal.set_wakeup_fd(before)

    def remove_signal_handler(self, sig: int) -> bool:
        """Remove the handler of a signal; asyncio lets no signal wake the loop after the last."""
        is_removed = super().remove_signal_handler(sig)
        if self.is_running():
            self._let_signals_wake()
        return is_removed

    def _let_signals_wake(self) -> int | None:
        """Let signals wake this loop; what they woke before. None where they wake none."""
        if self.is_closed() or threading.current_thread() is not threading.main_thread():
            return None
        return signal.set_wakeup_fd(self._csock.fileno(), warn_on_full_buffer=False)

    def close(self) -> None:
        """Close the loop, and what is still open in it; in any thread, as long as it runs in none.

        Raises:
            RuntimeError: the loop runs.
        """
        if self._core is not None and not self.is_closed() and not self.is_running():
            self._core.enter_thread(is_closing=True)
        super().close()

    @property
    def own_core(self) -> Core | None:
        """The port that the loop waits on; None for a loop on another selector."""
        return self._core

    @property
    def core(self) -> Core:
        """The port that the loop waits on.

        Raises:
            RuntimeError: the loop was made with another selector.
        """
        if self._core is None:
            raise RuntimeError(
                "the loop was made with selector=, so it does not use Vespiary's drivers: "
                "create a Loop without selector="
            )
        return self._core

    @property
    def driver_choice(self) -> str:
        """Which driver was taken, and why, in a sentence."""
        return self.core.choice


class _SimulatedLoop(Simulated, Loop):
    """A loop whose sockets and time are simulated."""


def open_loops() -> list[Loop]:
    """The loops of this process that are not closed."""
    return [loop for loop in _loops if not loop.is_closed()]


def new_event_loop() -> Loop:
    """A new loop; give this as the `loop_factory` of `asyncio.Runner` or `asyncio.run`."""
    return Loop()


def run(
    main: Coroutine[Any, Any, T],
    *,
    debug: bool | None = None,
    driver: str | None = None,
    spin_microseconds: int = 0,
) -> T:
    """Run a coroutine in a new loop on the port, as `asyncio.run` does in its own.

    It is taken for the program itself, so glibc is set to keep up to 16 MiB of freed memory, which
    saves page faults with large messages; unless the environment has set its variables.

    Args:
        main: The coroutine.
        debug: Whether asyncio's debug mode is on; default: as PYTHONASYNCIODEBUG says.
        driver: The driver of the port; default: the best that works here.
        spin_microseconds: How long to poll for completions before sleeping.

    Raises:
        RuntimeError: a loop runs in this thread already.
    """
    return run_until_exit(
        main, None, debug=debug, driver=driver, spin_microseconds=spin_microseconds
    )


def run_until_exit(
    main: Coroutine[Any, Any, T],
    on_exit: Callable[[SystemExit], object] | None,
    *,
    debug: bool | None = None,
    driver: str | None = None,
    spin_microseconds: int = 0,
) -> T:
    """Run a coroutine as `run` does, and report it when something ends the program.

    Args:
        main: The coroutine.
        on_exit: Called with a SystemExit that a callback or a task has raised, before the loop
            is closed, which cancels `main`; None: it is not reported.
        debug: As for `run`.
        driver: As for `run`.
        spin_microseconds: As for `run`.

    Raises:
        RuntimeError: a loop runs in this thread already.
    """
    if asyncio._get_running_loop() is not None:
        main.close()
        raise RuntimeError("a loop runs in this thread already: await the coroutine instead")

    def factory() -> Loop:
        try:
            return Loop(driver=driver, spin_microseconds=spin_microseconds)
        except BaseException:
            main.close()
            raise

    keep_heap()
    with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
        try:
            return runner.run(main)
        except SystemExit as error:
            if on_exit is not None:
                on_exit(error)
            raise
