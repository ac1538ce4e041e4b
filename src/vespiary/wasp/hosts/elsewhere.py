"""Connections that plug-ins have in processes of their own, as operators see them.

Such a process has ids of its own. Operators see them with the slot of the worker that has started
the process, so that a command finds the worker by the id, as for every other connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from vespiary.errors import ConfigurationError
from vespiary.wasp.worker_calls import LOOK_SECONDS, Refused

if TYPE_CHECKING:
    from vespiary.server import Server
    from vespiary.wasp.connections import ConnectionQuery
    from vespiary.wasp.hosts.process import ProcessHost

__all__ = ["ask_for_one", "page_of"]


async def page_of(
    host: ProcessHost, name: str, server: Server, query: ConnectionQuery
) -> dict[str, Any]:
    """List the connections of a plug-in's process: see `connection_page`.

    Raises:
        Refused: its endpoint was asked for, and the process does not answer.
    """
    arguments = msgspec.structs.asdict(query) | {"worker": None}
    try:
        page: dict[str, Any] = await host.ask("connections", LOOK_SECONDS, query=arguments)
    except ConfigurationError as error:
        if query.endpoint == name and host.state is None:
            raise Refused(str(error)) from None
        # It is being restarted, or hangs, and the others are listed.
        return {"count": 0, "rows": []}
    for row in page["rows"]:
        _rename(row, server)
    return page


def _rename(row: dict[str, Any], server: Server) -> None:
    row["id"] = f"{server._slot_index}.{row['id'].partition('.')[2]}"
    row["worker"] = server.worker


async def ask_for_one(
    hosts: Iterable[ProcessHost], server: Server, command: str, connection_id: str
) -> Any:
    """Carry out a command for a connection, in the process that has it.

    Raises:
        Refused: none of the processes has it.
    """
    name = connection_id.partition(".")[2]
    answers = await asyncio.gather(
        *(host.ask(command, connection=name) for host in hosts), return_exceptions=True
    )
    for answer in answers:
        if answer and not isinstance(answer, BaseException):
            if isinstance(answer, dict):
                _rename(answer, server)
            return answer
    raise Refused(f"there is no connection {connection_id}: it has ended", subject="id")
