"""A reverse proxy that terminates TLS and forwards each WebSocket to a server without TLS.

The server gets the path and the subprotocols of the client, and the client's address in
X-Forwarded-For. Backpressure works in both directions: if one side does not read, the proxy does
not read from the other side. Close codes are passed on.

Run:   .venv/bin/vespiary cert                                    (once)
       .venv/bin/python examples/websocket_chat ws://127.0.0.1:8080 &
       .venv/bin/python examples/tls_reverse_proxy.py [URL [TARGET [CERTIFICATE [KEY]]]]
       (default wss://127.0.0.1:8443 ws://127.0.0.1:8080 localhost.pem localhost-key.pem)
Talk:  vespiary.connect("wss://localhost:8443", tls=vespiary.ClientTLS(ca="vespiary-ca.pem"))
"""

import asyncio
import contextlib
import sys

import vespiary

BAD_GATEWAY = 1014  # The registry of close codes that RFC 6455 section 11.7 founded.
NO_STATUS, ABNORMAL = 1005, 1006  # These two are never sent (section 7.4.1).


class ReverseProxy:
    """Forwards each WebSocket to the same server."""

    def __init__(self, target: str) -> None:
        self.target = target.rstrip("/")

    async def __call__(self, client: vespiary.Connection) -> None:
        """Serve one WebSocket."""
        assert client.request is not None
        address = client.peer[0] if isinstance(client.peer, tuple) else "unknown"
        try:
            behind = await vespiary.connect(
                self.target + client.request.target,
                headers=[("X-Forwarded-For", address), ("X-Forwarded-Proto", "https")],
                subprotocols=client.request.subprotocols,
                proxy=None,
            )
        except (OSError, vespiary.VespiaryError):
            client.close(BAD_GATEWAY, "the server behind is not there")
            return
        async with asyncio.TaskGroup() as directions:
            directions.create_task(carry(client, behind))
            directions.create_task(carry(behind, client))


async def carry(source: vespiary.Connection, target: vespiary.Connection) -> None:
    """Forward the messages of one direction, and then the close."""
    with contextlib.suppress(vespiary.ConnectionClosed):
        async for message in source:
            target.send(message)
            await target.drain()
    reason = source.close_reason
    if reason is None:
        # The target has ended first, and the other direction passes that on.
        return
    code = 1000 if reason.code == NO_STATUS else reason.code
    if code is None or code == ABNORMAL:
        target.close(BAD_GATEWAY, "the other end broke off")
    else:
        target.close(code, reason.text[:100])


if __name__ == "__main__":
    given = sys.argv[1:5]
    defaults = ["wss://127.0.0.1:8443", "ws://127.0.0.1:8080", "localhost.pem", "localhost-key.pem"]
    url, behind_url, certificate, key = given + defaults[len(given) :]
    vespiary.serve(ReverseProxy(behind_url), url, tls=vespiary.ServerTLS(certificate, key))
