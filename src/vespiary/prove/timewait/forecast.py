"""When a number of ports, or of sockets in TIME_WAIT, will reach a limit.

A socket in TIME_WAIT says when it ends, so the future of those that are there now is known. To it
are added those that will come, at the rate at which they came lately, and the sockets that are in
use, with their growth. If `rate` ports are taken per second and each is blocked for `hold` seconds,
there will be `rate * hold` in the end: below the limit no forecast is made, however fast the number
grows at first. This is what a line through the last totals gets wrong.

The rate is that of the shortest time that has enough connections to be sure of it: 400 give it to
10 % (two standard deviations of a Poisson process). If none came in the last two seconds, a burst
is over, and the rate is that of the longest time, over which bursts that come again are averaged.
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["HORIZON_SECONDS", "SLOTS_PER_SECOND", "Slots", "rate_of", "seconds_until"]

SLOTS_PER_SECOND: Final = 2

Slots = Mapping[int, int]
"""How many sockets have their end in which half second from now."""

HORIZON_SECONDS: Final = 600
"""A time beyond this is not a forecast."""

_ENOUGH = 400
_WINDOWS_SECONDS = (2, 5, 10, 20)


def rate_of(slots: Slots, time_wait_seconds: float) -> float:
    """How many sockets per second went into TIME_WAIT lately.

    Args:
        slots: When those that are there will end.
        time_wait_seconds: How long TIME_WAIT lasts.
    """
    counts = {
        window: sum(
            number
            for slot, number in slots.items()
            if slot >= (time_wait_seconds - window) * SLOTS_PER_SECOND
        )
        for window in _WINDOWS_SECONDS
    }
    shortest, longest = _WINDOWS_SECONDS[0], _WINDOWS_SECONDS[-1]
    if counts[shortest]:
        for window, count in counts.items():
            if count >= _ENOUGH:
                return count / window
    return counts[longest] / longest


def seconds_until(
    limit: float, *, used: float, growth: float, slots: Slots, rate: float, hold_seconds: float
) -> float | None:
    """The seconds until `limit` is reached; 0 if it is, None if it will not be.

    Args:
        limit: The number that is asked about.
        used: Ports of sockets that are in use, which nothing ends by itself.
        growth: How many more of these there are per second.
        slots: When those in TIME_WAIT stop blocking their ports.
        rate: How many more come per second.
        hold_seconds: For how long each of them will block its port.
    """
    blocked = sum(slots.values())
    if used + blocked >= limit:
        return 0.0
    growth = max(growth, 0.0)
    past = 0
    second = 0.0
    for step in range(1, int(hold_seconds * SLOTS_PER_SECOND) + 1):
        past += slots.get(step - 1, 0)
        before, second = second, step / SLOTS_PER_SECOND
        if used + growth * second + blocked - past + rate * second >= limit:
            return (before + second) / 2
    steady = used + rate * hold_seconds
    if growth == 0:
        return None
    later = (limit - steady) / growth
    return max(later, second) if later <= HORIZON_SECONDS else None
