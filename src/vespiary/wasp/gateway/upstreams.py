"""The servers behind a gateway: which one is next, and which of them are not used at the moment.

A server that has failed several times in a row is not used for some seconds (passive check). With
`Health`, each server is also asked regularly whether it works (active check). If none is left, the
passive check is ignored: a server that has failed before is better than none.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import vespiary

if TYPE_CHECKING:
    from vespiary._core import Connection

__all__ = ["Health", "Policy", "Upstream", "UpstreamStatistics", "Upstreams"]

logger = logging.getLogger("vespiary.wasp")

_STREAMS = {"http": "tcp", "https": "tls", "http+unix": "unix"}
"""The scheme of the connection for HTTP."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When a server counts as failed.

    Attributes:
        connect_seconds: The longest time for a connection to be made. 5: as in other proxies.
        failures_max: After this number of failures in a row, a server is not used. 3: a single one
            may be chance.
        failed_seconds: How long a server is then not used. 10: a restart takes about as long.
    """

    connect_seconds: float = 5.0
    failures_max: int = 3
    failed_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Health:
    """How servers are asked whether they work.

    Attributes:
        path: The target of the request, which is answered with a status from 200 to 399.
        interval_seconds: The time between two requests.
        timeout_seconds: The longest time for an answer.
        failures_max: After this number of failures in a row, a server is not used until it has
            answered.
    """

    path: str = "/"
    interval_seconds: float = 5.0
    timeout_seconds: float = 2.0
    failures_max: int = 2


@dataclass(frozen=True, slots=True)
class UpstreamStatistics:
    """One server behind a gateway.

    Attributes:
        url: Its address.
        available: Whether it is used at the moment.
        active: Requests or connections in progress, now.
        requests: Requests or connections that were passed on.
        failures: Those that have failed on the side of the server.
    """

    url: str
    available: bool
    active: int
    requests: int
    failures: int


class Upstream:
    """One server behind a gateway."""

    def __init__(
        self, url: str, policy: Policy, tls: vespiary.ClientTLS | None, clock: Callable[[], float]
    ) -> None:
        self.url = url
        self.endpoint = vespiary.Endpoint.parse(url)
        self.policy = policy
        self._tls = tls
        self._clock = clock
        self.is_healthy = True
        self.active = self.requests = self.failures = 0
        self._failures_in_a_row = 0
        self._failed_until = 0.0

    @property
    def has_recovered(self) -> bool:
        """Whether it has not failed lately."""
        return self._failed_until <= self._clock()

    def succeeded(self) -> None:
        """It has answered."""
        self._failures_in_a_row = 0
        self._failed_until = 0.0

    def failed(self, text: str) -> None:
        """Count a failure; after `failures_max` of them, do not use the server for a while."""
        self.failures += 1
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= self.policy.failures_max:
            if self.has_recovered:
                seconds = self.policy.failed_seconds
                logger.warning(
                    "Upstream failed, not used for %g s: %s: %s", seconds, self.url, text
                )
            self._failed_until = self._clock() + self.policy.failed_seconds

    def statistics(self) -> UpstreamStatistics:
        """What it has counted."""
        is_available = self.is_healthy and self.has_recovered
        return UpstreamStatistics(self.url, is_available, self.active, self.requests, self.failures)

    def tls_options(self) -> dict[str, Any]:
        """The option `tls` of a connection, if there is one."""
        return {"tls": self._tls} if self._tls is not None and self.endpoint.is_secure else {}

    async def connect(self, *, half_close: bool = False) -> Connection:
        """Open a connection for bytes.

        Args:
            half_close: Whether it stays open for sending when the server has finished.

        Raises:
            OSError: it cannot be reached, or not in time (`TimeoutError`).
            VespiaryError: TLS has failed.
        """
        endpoint = self.endpoint
        scheme: Any = _STREAMS.get(endpoint.scheme, endpoint.scheme)
        place = dataclasses.replace(endpoint, scheme=scheme, target="")
        async with asyncio.timeout(self.policy.connect_seconds):
            options = self.tls_options()
            return await vespiary.connect(str(place), half_close=half_close, proxy=None, **options)


class Upstreams:
    """The servers of one gateway."""

    def __init__(self, upstreams: Sequence[Upstream], health: Health | None = None) -> None:
        self._upstreams = list(upstreams)
        self._health = health
        self._turn = itertools.count()
        self._checks: list[asyncio.Task[None]] = []

    def choose(self, tried: Collection[Upstream] = ()) -> Upstream | None:
        """Return the server with the least work; among equals, one after the other.

        Args:
            tried: Servers that the request has failed on.
        """
        left = [one for one in self._upstreams if one.is_healthy and one not in tried]
        found = [one for one in left if one.has_recovered] or left
        if not found:
            return None
        start = next(self._turn) % len(found)
        return min([*found[start:], *found[:start]], key=lambda one: one.active)

    def statistics(self) -> list[UpstreamStatistics]:
        """What each server has counted."""
        return [one.statistics() for one in self._upstreams]

    def start(
        self,
        ask: Callable[[Upstream, Health], Awaitable[None]],
        may_begin: Callable[[], Awaitable[None]],
    ) -> None:
        """Begin the active checks.

        Args:
            ask: Asks a server; what it raises is a failure.
            may_begin: Returns when the first check may begin.
        """
        if self._health is not None:
            for one in self._upstreams:
                checking = self._check(one, self._health, ask, may_begin)
                self._checks.append(asyncio.ensure_future(checking))

    async def stop(self) -> None:
        """End the active checks."""
        checks, self._checks = self._checks, []
        for check in checks:
            check.cancel()
        await asyncio.gather(*checks, return_exceptions=True)

    @staticmethod
    async def _check(
        upstream: Upstream,
        health: Health,
        ask: Callable[[Upstream, Health], Awaitable[None]],
        may_begin: Callable[[], Awaitable[None]],
    ) -> None:
        await may_begin()
        failures = 0
        while True:
            try:
                async with asyncio.timeout(health.timeout_seconds):
                    await ask(upstream, health)
            except Exception as error:
                failures += 1
                if failures >= health.failures_max and upstream.is_healthy:
                    upstream.is_healthy = False
                    text = str(error) or type(error).__name__
                    logger.warning(
                        "Health check failed, upstream not used: %s: %s", upstream.url, text
                    )
            else:
                failures = 0
                if not upstream.is_healthy:
                    upstream.is_healthy = True
                    logger.info("Health check passed, upstream used again: %s", upstream.url)
            await asyncio.sleep(health.interval_seconds)
