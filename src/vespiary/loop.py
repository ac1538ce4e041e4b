"""The asyncio loop whose selector is the completion port.

`Loop` is a `SelectorEventLoop` like any other to the libraries that run in it. Where other loops
ask the kernel which descriptors are ready, this one takes turns of the port: completions of
Vespiary's own connections are handled in place, natively, and asyncio gets control only when it has
something to do.
"""

import asyncio
import os
import random
import selectors
import weakref
from collections.abc import Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

# Loaded now, for when there is no descriptor left to load it with.
from vespiary import _logging as _logging
from vespiary._core import Core
from vespiary._faults import FaultNames, Faults, faults_of
from vespiary._simulated import Simulated
from vespiary.errors import ConfigurationError

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = ["Loop", "PortSelector", "new_event_loop", "run", "running_core"]

T = TypeVar("T")


class _Watched(Mapping["FileDescriptorLike", selectors.SelectorKey]):
    """A selector's keys, found by descriptor or by the object that has one."""

    def __init__(self, selector: "PortSelector") -> None:
        self._selector = selector

    def __getitem__(self, fileobj: "FileDescriptorLike") -> selectors.SelectorKey:
        return self._selector.find(fileobj)

    def __iter__(self) -> Iterator["FileDescriptorLike"]:
        return iter(self._selector.descriptors())

    def __len__(self) -> int:
        return len(self._selector.descriptors())


class PortSelector(selectors.BaseSelector):
    """A selector on the port. It belongs to the loop that made it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._loop: weakref.ref[asyncio.AbstractEventLoop] | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell it the loop it serves."""
        self._loop = weakref.ref(loop)

    def register(
        self, fileobj: "FileDescriptorLike", events: int, data: Any = None
    ) -> selectors.SelectorKey:
        """Watch a descriptor.

        Raises:
            ValueError: the events are none, or the object has no descriptor.
            KeyError: it is watched already.
            OSError: it is not open (EBADF), or cannot be watched, like a regular file (EPERM).
        """
        if not events or events & ~(selectors.EVENT_READ | selectors.EVENT_WRITE):
            raise ValueError(f"invalid events: {events!r}")
        fd = _descriptor(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} (descriptor {fd}) is already registered")
        self._core.register(fd, events)
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: "FileDescriptorLike") -> selectors.SelectorKey:
        """Stop watching a descriptor."""
        key = self._keys.pop(self._known(fileobj))
        self._core.unregister(key.fd)
        return key

    def modify(
        self, fileobj: "FileDescriptorLike", events: int, data: Any = None
    ) -> selectors.SelectorKey:
        """Watch for other events, or change the data."""
        fd = self._known(fileobj)
        key = self._keys[fd]
        if events != key.events:
            self._core.register(fd, events)
        key = selectors.SelectorKey(key.fileobj, fd, events, data)
        self._keys[fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Run completions until the loop has work; which descriptors are ready."""
        loop = self._loop() if self._loop is not None else None
        ready = self._core.select(timeout, loop)
        keys = self._keys
        return [(keys[fd], events & keys[fd].events) for fd, events in ready if fd in keys]

    def get_map(self) -> Mapping["FileDescriptorLike", selectors.SelectorKey]:
        """The descriptors that are watched, found by number or by the object that has them."""
        return _Watched(self)

    def find(self, fileobj: "FileDescriptorLike") -> selectors.SelectorKey:
        """The key of a descriptor, or of the object that has one; KeyError when there is none."""
        return self._keys[self._known(fileobj)]

    def descriptors(self) -> list[int]:
        """The numbers of the descriptors that are watched."""
        return list(self._keys)

    def close(self) -> None:
        """End everything on the port."""
        self._keys.clear()
        self._core.close()

    def _known(self, fileobj: "FileDescriptorLike") -> int:
        try:
            fd = _descriptor(fileobj)
        except ValueError:
            # A closed file has no descriptor any more.
            for key in self._keys.values():
                if key.fileobj is fileobj:
                    return key.fd
            raise
        if fd not in self._keys:
            raise KeyError(f"{fileobj!r} is not registered")
        return fd


def _descriptor(fileobj: "FileDescriptorLike") -> int:
    fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if fd < 0:
        raise ValueError(f"invalid file descriptor: {fd}")
    return fd


class Loop(asyncio.SelectorEventLoop):
    """An asyncio loop on a completion port.

    Args:
        driver: `uring` or `epoll`; default: `VESPIARY_PORT` of the environment, and without it the
            best driver that works here. `sim` is for tests: sockets and time are simulated.
        spin_microseconds: How long to poll before sleeping when nothing is ready. Cuts a lone
            connection's latency, and costs a core's idle time: 0, the default, never polls.
        seed: With `sim`: everything that happens by chance follows from it. Default: any number.
        faults: With `sim`: what goes wrong, `lossless`, `harsh` or `vespiary.testing.Faults`.

    Raises:
        DriverUnavailable: the driver that was asked for does not work here.
        ConfigurationError: `seed` or `faults` on a driver that is not simulated.
    """

    def __new__(
        cls,
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
        *,
        driver: str | None = None,
        spin_microseconds: int = 0,
        seed: int | None = None,
        faults: Faults | FaultNames | None = None,
    ) -> None:
        # What asyncio's __del__ looks at, should the driver not be had.
        self._closed = True
        if driver is None:
            driver = os.environ.get("VESPIARY_PORT") or None
            if driver == "sim":
                raise ConfigurationError(
                    "VESPIARY_PORT must be uring or epoll: the simulation serves no real clients",
                    subject="driver",
                )
        if driver == "sim":
            self.seed = random.getrandbits(32) if seed is None else seed
            self.core = Core(driver, seed=self.seed, faults=faults_of(faults).native())
        else:
            self.core = Core(driver, spin_microseconds)
        selector = PortSelector(self.core)
        selector.attach(self)
        super().__init__(selector)

    @property
    def driver_choice(self) -> str:
        """Which driver was taken, and why, in a sentence."""
        return self.core.choice


class _SimulatedLoop(Simulated, Loop):
    """A loop whose sockets and time are simulated."""


def new_event_loop() -> Loop:
    """A new loop; give this as the `loop_factory` of `asyncio.Runner` or `asyncio.run`."""
    return Loop()


def run(
    main: Coroutine[Any, Any, T], *, driver: str | None = None, spin_microseconds: int = 0
) -> T:
    """Run a coroutine in a new loop on the port, as `asyncio.run` does in its own.

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

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def running_core() -> Core:
    """The port of the running loop.

    Raises:
        RuntimeError: no loop runs, or it is another kind of loop.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, Loop):
        raise RuntimeError(
            f"Vespiary runs in its own asyncio loop, and this is a {type(loop).__name__}: start"
            " with vespiary.run(main()), or"
            " asyncio.Runner(loop_factory=vespiary.loop.new_event_loop)"
        )
    return loop.core
