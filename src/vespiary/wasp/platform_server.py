"""The server of a platform: it reports the begin of its stop, and may belong to a cluster."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from vespiary.server import Server
from vespiary.wasp.cluster.nats import NatsCluster
from vespiary.workers._worker import deliver

if TYPE_CHECKING:
    from vespiary._life import Life

__all__ = ["PlatformServer"]


class PlatformServer(Server):
    """A server that reports the begin of its stop, and may belong to a cluster."""

    _contains_exits = True
    on_stopping: Callable[[], object] | None = None
    _cluster: NatsCluster | None

    def __init__(self, cluster: NatsCluster | None) -> None:
        super().__init__()
        self._cluster = cluster

    @property
    def cluster(self) -> NatsCluster | None:
        """What carries messages to other machines; None if this server is alone."""
        return self._cluster

    async def start(self) -> None:
        """Start, and then connect with the other machines."""
        await super().start()
        if self.cluster is not None and self._life is not None:
            self.cluster.start(functools.partial(deliver, self))
            self._share_state()

    async def wait_stopped(self) -> None:
        """Wait for the end, and then leave the other machines."""
        await super().wait_stopped()
        if self.cluster is not None:
            await self.cluster.close()

    def _begin_stop(self, life: Life, drain_seconds: float | None) -> None:
        if not life.stopping and self.on_stopping is not None:
            self.on_stopping()
        super()._begin_stop(life, drain_seconds)
