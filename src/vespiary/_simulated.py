"""What a loop does differently in the simulation: its time and its network are virtual.

`loop.time()` is the simulation's clock, which jumps to the next timer whenever nothing else is to
be done. While a thread works for the loop, the clock runs at its real speed: a deadline of five
seconds must not be over before the thread has begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from vespiary._core import Core
    from vespiary._pool import Pool

__all__ = ["Simulated", "post"]


class Simulated(asyncio.BaseEventLoop):
    """The methods of a simulated loop; mixed into `vespiary.loop.Loop`."""

    core: Core
    seed: int

    def time(self) -> float:
        """Virtual seconds since an arbitrary start."""
        return self.core.time()

    def run_in_executor(  # type: ignore[override] # typeshed has the variadic types.
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run a function in a thread; virtual time runs at the real speed meanwhile."""
        future: asyncio.Future[Any] = super().run_in_executor(executor, func, *args)
        self.core.hold_time(True)
        future.add_done_callback(lambda _: self.core.hold_time(False))
        return future

    def hold_time(self, future: Future[Any]) -> None:
        """Let virtual time run at the real speed until a thread has done some work."""

        def release(_: Future[Any]) -> None:
            # The thread may finish after the loop was closed.
            with contextlib.suppress(RuntimeError):
                self.call_soon_threadsafe(self.core.hold_time, False)

        self.core.hold_time(True)
        future.add_done_callback(release)

    async def subprocess_exec(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Refuse a child process, which runs in real time.

        Raises:
            RuntimeError: always.
        """
        raise _no_subprocess()

    async def subprocess_shell(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Refuse a shell, as `subprocess_exec` does."""
        raise _no_subprocess()

    async def shutdown_default_executor(self, *arguments: Any, **options: Any) -> None:
        """Wait for the threads of the default executor."""
        self.core.hold_time(True)
        try:
            await super().shutdown_default_executor(*arguments, **options)
        finally:
            self.core.hold_time(False)

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - asyncio's name.
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[Any, ...]]:
        """Resolve IP addresses and `localhost`; the simulated network has no other names."""
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and name != "localhost" and not _is_address(name):
            raise socket.gaierror(
                socket.EAI_NONAME,
                f"the simulated network does not know {name!r}: use an IP address or localhost",
            )
        if name == "localhost":
            flags |= socket.AI_NUMERICHOST
            name = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        return list(socket.getaddrinfo(name, port, family, type, proto, flags))


def _no_subprocess() -> RuntimeError:
    return RuntimeError(
        "a subprocess runs in real time, and the simulation's clock would not wait for it: await"
        " asyncio.to_thread(subprocess.run, ...), for which it does, or test with"
        " vespiary.testing.serve"
    )


def post(pool: Pool, function: Callable[..., None], *arguments: Any) -> None:
    """Have a thread call a function. A simulated loop's time runs at the real speed meanwhile."""
    # Not `get_running_loop`: a loop that ends still closes connections, but does not run.
    loop = asyncio._get_running_loop()
    if isinstance(loop, Simulated):
        loop.hold_time(pool.submit(function, *arguments))
    else:
        pool.post(function, *arguments)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
