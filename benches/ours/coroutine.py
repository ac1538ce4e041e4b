"""Our echo as one async function: `coroutine.py tcp|ws PORT`.

VESPIARY_DRIVER chooses the driver.
"""

import sys

import vespiary


async def echo(connection: vespiary.Connection) -> None:
    async for message in connection:
        connection.send(message)


vespiary.serve(
    echo,
    f"{sys.argv[1]}://127.0.0.1:{sys.argv[2]}",
    on_serving=lambda urls: print("READY", sys.argv[2], flush=True),
)
