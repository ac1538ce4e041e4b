"""Both processes of an upgrade, without workers.

With workers, `generations` does the same in its main process. `handover` describes both.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from vespiary._replacing import hand_over
from vespiary.wasp.handover import Held, Predecessor, Successor

if TYPE_CHECKING:
    from vespiary.server import Server
    from vespiary.wasp.platform import Platform

__all__ = ["look_after", "upgrade"]

_LOOK_SECONDS = 0.1


async def upgrade(platform: Platform) -> int:
    """Start the program again in a new process, which takes the place of this one.

    When it serves, this process begins to stop. If this is cancelled before, the new one is ended.

    Returns:
        The process id of the new one.

    Raises:
        OSError: it cannot be started.
        UpgradeFailed: it has ended before it served.
    """
    addresses = [address for address, _ in platform.addresses()]
    held = [
        Held(keys, address.bound_sockets, address.socket_file)
        for address, keys in platform.addresses()
    ]
    successor = Successor(held, platform.sockets or {})
    try:
        await _wait_until_it_serves(successor)
    except BaseException:
        successor.cancel()
        successor.close()
        raise
    # Its end of the connection closes when this process ends: the new one waits for that.
    platform.successor = successor
    for address in addresses:
        address.leave_file()
    # Once this has returned: the stop cancels upgrades that still wait.
    asyncio.get_running_loop().call_soon(hand_over, platform.server)
    return successor.pid


def look_after(server: Server, predecessor: Predecessor) -> None:
    """Accept what the old process leaves in the kernel, until it has ended.

    The kernel wakes one listener per connection, and the old process may be closing its own.
    """
    for address in server._addresses:
        address.accept_what_waits()
    if not predecessor.has_ended():
        loop = asyncio.get_running_loop()
        loop.call_later(_LOOK_SECONDS, look_after, server, predecessor)


async def _wait_until_it_serves(successor: Successor) -> None:
    loop, woken = asyncio.get_running_loop(), asyncio.Event()
    descriptors = (successor.control.fileno(), successor.pidfd)
    for descriptor in descriptors:
        loop.add_reader(descriptor, woken.set)
    try:
        while not successor.serves():
            woken.clear()
            await woken.wait()
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)
