"""The reverse proxy for HTTP and WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import Any

import h11

import vespiary
from vespiary._logging import address_text
from vespiary.wasp.gateway.exchange import Body, Exchange, Pool, UpstreamError
from vespiary.wasp.gateway.fields import (
    Forwarded,
    Sender,
    is_chunked,
    request_fields,
    response_fields,
)
from vespiary.wasp.gateway.streams import carry_back, close_code
from vespiary.wasp.gateway.upstreams import Health, Upstream, Upstreams, UpstreamStatistics

__all__ = ["Proxy", "ProxyOptions"]

logger = logging.getLogger("vespiary.wasp")

_IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}
"""RFC 9110 section 9.2.2."""
_OF_HANDSHAKE = {"origin", "sec-websocket-origin"}
_WEBSOCKET = {"http": "ws", "https": "wss", "http+unix": "ws+unix"}
_TEXTS = {
    502: "the server behind has given no valid response\n",
    503: "no server behind is available\n",
    504: "the server behind has not answered in time\n",
}


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """How requests are passed on.

    Attributes:
        host_header: `preserve` passes the client's `Host` on; `upstream` writes that of the server;
            any other text is the value.
        forwarded: In which form servers learn of the client.
        retries_max: How often a request is repeated at another server. It is if no connection could
            be made; otherwise if its method is idempotent, no part of its body was sent, and the
            connection has broken before the response.
        response_seconds: The longest time for the head of a response.
        body_seconds: The longest time between two pieces of its body.
        keep_alive_connections_max: How many idle connections with each server are kept.
        keep_alive_seconds: For how long. 4: servers close theirs after 5 seconds and more.
        is_secure: Whether clients use TLS.
        passes_websockets: Whether WebSockets are passed on.
    """

    host_header: str = "preserve"
    forwarded: Forwarded = "x-forwarded"
    retries_max: int = 1
    response_seconds: float = 8.0
    body_seconds: float = 60.0
    keep_alive_connections_max: int = 32
    keep_alive_seconds: float = 4.0
    is_secure: bool = False
    passes_websockets: bool = False


class Proxy(vespiary.Handler[Any]):
    """Passes requests, and WebSockets, on to servers."""

    stream_requests = True

    def __init__(
        self, upstreams: list[Upstream], health: Health | None, options: ProxyOptions
    ) -> None:
        self._upstreams = Upstreams(upstreams, health)
        self._options = options
        self._pools = {
            one: Pool(one, options.keep_alive_connections_max, options.keep_alive_seconds)
            for one in upstreams
        }

    def upstream_statistics(self) -> list[UpstreamStatistics]:
        """What each server has counted."""
        return self._upstreams.statistics()

    def on_start(self, server: vespiary.Server) -> None:
        """Begin the health checks, when the server accepts: it may be behind itself."""
        self._upstreams.start(self._ask, server._wait_accepting)

    async def on_stop(self, server: vespiary.Server) -> None:
        """End them, and close the connections that are kept."""
        await self._upstreams.stop()
        for pool in self._pools.values():
            pool.close()

    async def _ask(self, upstream: Upstream, health: Health) -> None:
        exchange = await Pool(upstream, 0, 0).exchange(may_be_kept=False)
        try:
            lines = [("Host", self._own_host(upstream)), ("Connection", "close")]
            head = await exchange.ask("GET", health.path, lines, None, health.timeout_seconds)
            if not 200 <= head.status_code < 400:
                raise UpstreamError(f"it has answered with the status {head.status_code}")
        finally:
            exchange.close()

    async def on_request(self, request: vespiary.Request) -> vespiary.Response:
        """Pass a request on, and its response back."""
        if self._options.passes_websockets and request.is_upgrade:
            return await self._upgrade(request)
        lines = request.headers.lines
        has_body = is_chunked(lines) or request.headers.get("content-length", "0") != "0"
        is_repeatable = request.method in _IDEMPOTENT
        tried: list[Upstream] = []
        status = 503
        while len(tried) <= self._options.retries_max:
            upstream = self._upstreams.choose(tried)
            if upstream is None:
                break
            chunks = _Chunks(request) if has_body else None
            try:
                return await self._forward(request, upstream, chunks, may_be_kept=is_repeatable)
            except UpstreamError as error:
                is_whole = chunks is None or not chunks.has_begun
                if error.is_stale and is_whole:
                    continue
                is_repeated = error.is_unsent or (is_repeatable and is_whole and not error.is_late)
                upstream.failed(str(error))
                _log_failed(upstream, str(error), request)
                status = 504 if error.is_late else 502
                tried.append(upstream)
                if not is_repeated:
                    break
        headers = {"Connection": "close"} if has_body else {}
        return request.respond(status, _TEXTS[status], headers)

    async def _forward(
        self,
        request: vespiary.Request,
        upstream: Upstream,
        chunks: _Chunks | None,
        *,
        may_be_kept: bool,
    ) -> vespiary.Response:
        lines = self._fields(request, upstream)
        exchange = await self._pools[upstream].exchange(may_be_kept=may_be_kept)
        try:
            seconds = self._options.response_seconds
            pieces = aiter(chunks) if chunks is not None else None
            head = await exchange.ask(request.method, request.target, lines, pieces, seconds)
        except BaseException:
            exchange.close()
            raise
        upstream.succeeded()
        return self._response(request, upstream, exchange, head)

    def _response(
        self,
        request: vespiary.Request,
        upstream: Upstream,
        exchange: Exchange,
        head: h11.Response,
    ) -> vespiary.Response:
        decoded = [(name.decode(), value.decode("latin-1")) for name, value in head.headers]
        lines = response_fields(decoded, head.status_code)
        first = bytearray()
        try:
            while isinstance(event := exchange.ready(), h11.Data):
                first += event.data
        except h11.RemoteProtocolError as error:
            exchange.close()
            raise UpstreamError(f"no valid response: {error}") from None
        if isinstance(event, h11.EndOfMessage):
            exchange.finish()
            if request.method == "HEAD" or head.status_code == 304:
                # It has the length of what it stands for, or none.
                return request.respond(head.status_code, iter(()), lines)
            return vespiary.Response(head.status_code, tuple(lines), bytes(first))

        def broken(text: str) -> None:
            upstream.failed(text)
            _log_failed(upstream, text, request)
            request.connection.abort()

        body = Body(exchange, bytes(first), self._options.body_seconds, broken)
        return request.respond(head.status_code, body, lines)

    def _fields(self, request: vespiary.Request, upstream: Upstream) -> list[tuple[str, str]]:
        peer = request.peer
        authority = request.authority or ""
        sender = Sender(
            peer[0].partition("%")[0] if isinstance(peer, tuple) else "",
            authority,
            "https" if self._options.is_secure else "http",
        )
        host = self._options.host_header
        if host == "preserve":
            host = authority or self._own_host(upstream)
        elif host == "upstream":
            host = self._own_host(upstream)
        return request_fields(request.headers.lines, sender, host, self._options.forwarded)

    @staticmethod
    def _own_host(upstream: Upstream) -> str:
        return "localhost" if upstream.endpoint.is_unix else upstream.endpoint.authority

    async def _upgrade(self, request: vespiary.Request) -> vespiary.Response:
        """Open a WebSocket with a server, and accept that of the client then."""
        upstream = self._upstreams.choose()
        if upstream is None:
            return request.respond(503, _TEXTS[503])
        fields = [
            (name, value)
            for name, value in self._fields(request, upstream)
            if name.lower() != "host"
            and (name.lower() in _OF_HANDSHAKE or not name.lower().startswith("sec-websocket-"))
        ]
        scheme: Any = _WEBSOCKET[upstream.endpoint.scheme]
        base = upstream.url.partition("://")[2].rstrip("/")
        upstream.requests += 1
        try:
            behind = await vespiary.connect(
                f"{scheme}://{base}{request.target}",
                headers=fields,
                subprotocols=request.subprotocols,
                deadlines=vespiary.Deadlines(handshake_seconds=self._options.response_seconds),
                proxy=None,
                **upstream.tls_options(),
            )
        except vespiary.HandshakeRefused as error:
            upstream.succeeded()
            lines = [
                (name, value)
                for name, value in response_fields(error.headers.lines, error.status)
                if name.lower() != "content-length"
            ]
            status = error.status if 200 <= error.status <= 599 else 502
            return request.respond(status, error.body, lines)
        except (OSError, vespiary.VespiaryError) as error:
            upstream.failed(str(error) or type(error).__name__)
            status = 504 if isinstance(error, TimeoutError) else 502
            return request.respond(status, _TEXTS[status])
        upstream.succeeded()
        upstream.active += 1
        request.connection.data = _Tunnel(upstream, behind)
        return request.accept(subprotocol=behind.subprotocol or "")

    def on_open(self, connection: vespiary.Connection[Any]) -> None:
        """Begin to carry messages back."""
        tunnel: _Tunnel = connection.data
        tunnel.task = asyncio.ensure_future(carry_back(tunnel.behind, connection))

    async def on_message(self, connection: vespiary.Connection[Any], message: str | bytes) -> None:
        """Carry a message on."""
        behind = connection.data.behind
        with contextlib.suppress(vespiary.ConnectionClosed):
            behind.send(message)
            await behind.drain()

    def on_close(self, connection: vespiary.Connection[Any], reason: vespiary.CloseReason) -> None:
        """Close the WebSocket with the server in the same way."""
        tunnel: _Tunnel = connection.data
        tunnel.upstream.active -= 1
        tunnel.behind.close(*close_code(reason))


def _log_failed(upstream: Upstream, text: str, request: vespiary.Request) -> None:
    peer = address_text(request.peer) or "a Unix socket"
    logger.info("Upstream failed: %s: %s; request from %s", upstream.url, text, peer)


@dataclass(slots=True, eq=False)
class _Tunnel:
    """A WebSocket that is passed on."""

    upstream: Upstream
    behind: vespiary.Connection[Any]
    task: asyncio.Task[None] | None = None


class _Chunks:
    """The body of a request, and whether a part of it was taken."""

    def __init__(self, request: vespiary.Request) -> None:
        self._request = request
        self.has_begun = False

    async def __aiter__(self) -> Any:
        self.has_begun = True
        async for piece in self._request.chunks():
            yield piece
