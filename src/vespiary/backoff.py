"""When to connect again: `Backoff`, and the state of the attempts.

When a server is available again, all its clients want to connect. RFC 6455 section 7.2.3 asks
clients to wait for a random time before they reconnect, and longer after each failure. The first
wait is a random time of up to `first_seconds`. Each further wait is at least the maximum of the
previous one, and at most `factor` times that, but never longer than `seconds_max`. So the waits
grow, and clients that lost their server at the same moment do not reconnect at the same moment.

Time and random numbers are parameters, so everything here is arithmetic and can be tested.
"""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from vespiary._callbacks import check_callback
from vespiary._counted import counted
from vespiary._seconds import is_seconds, wanted_seconds
from vespiary._suggestions import checks_names
from vespiary.errors import ConfigurationError, ConnectionClosed, HandshakeRefused, LocalError
from vespiary.trace import requires

__all__ = ["Attempts", "Backoff", "is_final", "retry_after_seconds"]

_PASSING_STATUSES = frozenset({408, 425, 429})
"""Statuses among 400 to 499 that ask for patience: too slow, too early, too many."""
_RETRY_AFTER_STATUSES = frozenset({429, 503})


def is_final(error: Exception) -> bool:
    """Whether further attempts would fail too.

    These failures are not final: errors of the network (OSError), a connection that broke during
    its handshake, and the statuses 500 to 599, 408, 425 and 429. Other answers, such as redirects
    that are not followed, and errors in this end's own options are final.
    """
    if isinstance(error, HandshakeRefused):
        return error.status < 500 and error.status not in _PASSING_STATUSES
    if isinstance(error, ValueError | LocalError):
        return True
    return not isinstance(error, OSError | ConnectionClosed)


def retry_after_seconds(error: Exception, now: Callable[[], float] = time.time) -> float | None:
    """How long the server asks to be left alone (RFC 9110 section 10.2.3), in a 429 or 503.

    It says so in seconds or as a date; None when it says nothing that can be understood.
    """
    if not isinstance(error, HandshakeRefused) or error.status not in _RETRY_AFTER_STATUSES:
        return None
    value = error.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:18])
    try:
        date = email.utils.parsedate_to_datetime(value)
        return max(0.0, date.timestamp() - now())
    except (ValueError, OverflowError):
        return None


@checks_names()
@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How a client reconnects after a connection has ended or an attempt has failed.

    Attributes:
        first_seconds: The first wait is a random time of up to this. 5: RFC 6455 section 7.2.3
            calls this reasonable.
        factor: How much longer each further wait may be than the previous one. 2.
        seconds_max: The longest wait. 60: when a server is back, its clients reconnect within a
            minute.
        attempts_max: How many attempts in a row may fail. Then the last failure is raised. None: no
            limit.
        budget_seconds: How long attempts are repeated after the first failure, or after the end of
            a connection. None: no limit.
        reset_seconds: After a connection that lasted this long, the waits begin with
            `first_seconds` again. 60: if a server accepts connections and drops them soon, the
            waits still grow.
        retry_after_seconds_max: The longest `Retry-After` that is obeyed. A longer one counts as
            this. 3,600: a mistake in a server's configuration should not stop clients for days.
        is_final: A function that is called with each failure. If it returns True, the failure is
            raised at once. Default: `vespiary.backoff.is_final`.
    """

    first_seconds: float = 5.0
    factor: float = 2.0
    seconds_max: float = 60.0
    attempts_max: int | None = None
    budget_seconds: float | None = None
    reset_seconds: float = 60.0
    retry_after_seconds_max: float = 3600.0
    is_final: Callable[[Exception], bool] = is_final

    def __post_init__(self) -> None:
        """Check every field."""
        try:
            check_callback("is_final", self.is_final)
        except TypeError as error:
            raise ConfigurationError(
                f"Backoff.{error}", subject="is_final", value=self.is_final
            ) from None
        for name in ("first_seconds", "seconds_max", "reset_seconds", "retry_after_seconds_max"):
            if not is_seconds(getattr(self, name)):
                raise _wrong(name, getattr(self, name), wanted_seconds())
        if self.budget_seconds is not None and not is_seconds(self.budget_seconds):
            raise _wrong("budget_seconds", self.budget_seconds, wanted_seconds("None for no limit"))
        # The comparison also refuses infinity and NaN.
        if type(self.factor) not in (int, float) or not 1 <= self.factor <= 1e9:
            raise _wrong("factor", self.factor, "a number of at least 1")
        if self.attempts_max is not None and (
            type(self.attempts_max) is not int or self.attempts_max < 1
        ):
            wanted = "a whole number of at least 1, or None for any number"
            raise _wrong("attempts_max", self.attempts_max, wanted)

    def bound_seconds(self, waits: int) -> float:
        """The longest that the next wait can be, after this number of waits."""
        try:
            return min(self.seconds_max, self.first_seconds * self.factor**waits)
        except OverflowError:
            return self.seconds_max


def _wrong(name: str, value: object, wanted: str) -> ConfigurationError:
    return ConfigurationError(
        f"Backoff.{name} must be {wanted}; got {value!r}", subject=name, value=value
    )


class Attempts:
    """The attempts of one client: what has failed, since when, and how long to wait now.

    Args:
        backoff: The rules.
        clock: Seconds that only ever grow.
        chance: A random number from 0 to 1.
        date: Seconds since 1970, for dates in `Retry-After`.
    """

    def __init__(
        self,
        backoff: Backoff,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        date: Callable[[], float] = time.time,
    ) -> None:
        self._backoff = backoff
        self._clock = clock
        self._chance = chance
        self._date = date
        self._waits = 0
        self._failures = 0
        self._trouble: float | None = None
        self._opened = 0.0

    def opened(self) -> None:
        """An attempt came through."""
        self._opened = self._clock()
        self._failures = 0
        self._trouble = None

    def ended(self) -> float:
        """The connection that came through has ended: how long to wait."""
        now = self._clock()
        if now - self._opened >= self._backoff.reset_seconds:
            self._waits = 0
        self._trouble = now
        return self._wait()

    def failed(self, error: Exception) -> float:
        """An attempt has failed: how long to wait.

        Raises:
            Exception: the failure itself, when it is final or there have been enough.
        """
        backoff = self._backoff
        now = self._clock()
        self._failures += 1
        if self._trouble is None:
            self._trouble = now
        if backoff.is_final(error):
            raise error
        if backoff.attempts_max is not None and self._failures >= backoff.attempts_max:
            error.add_note(
                f"stopped after {counted(self._failures, 'attempt')}: attempts_max is"
                f" {backoff.attempts_max}"
            )
            raise error
        seconds = self._wait()
        asked = retry_after_seconds(error, self._date)
        if asked is not None:
            # Not before that time; and with a random part, so that not all clients come at once.
            asked = min(asked, backoff.retry_after_seconds_max)
            seconds = max(seconds, asked + backoff.first_seconds * self._chance())
        budget = backoff.budget_seconds
        if budget is not None and now + seconds - self._trouble > budget:
            attempts = counted(self._failures, "attempt")
            error.add_note(f"stopped after {attempts}: budget_seconds is {budget:g}")
            raise error
        return seconds

    def _wait(self) -> float:
        is_first = self._waits == 0
        bound = self._backoff.bound_seconds(self._waits)
        least = 0.0 if is_first else bound / self._backoff.factor
        requires("rfc6455/7.2.3/4")
        self._waits += 1
        if requires("rfc6455/7.2.3/2", "rfc6455/7.2.3/3", is_first):
            return bound * self._chance()
        return least + (bound - least) * (1.0 if is_first else self._chance())
