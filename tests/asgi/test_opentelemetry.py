"""Spans and metrics for OpenTelemetry, with the exporters in memory of the official SDK."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import vespiary
from vespiary.opentelemetry import _server_metrics, instrument, observe

from .kit import HTTP, Receive, Send, connected, respond, serving, until

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
WS = "ws://127.0.0.1:0"


class Recorded:
    """Providers, and what they have got."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])

    def instrument(self, handler: Any) -> Any:
        return instrument(handler, tracer_provider=self.tracers, meter_provider=self.meters)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def points(self, name: str) -> list[Any]:
        """The data points of a metric."""
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    made = Recorded()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()


async def greet(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await respond(send, b"hello", 200)


async def test_a_request_has_a_span_with_the_attributes_of_the_conventions(
    recorded: Recorded,
) -> None:
    handler = recorded.instrument(vespiary.ASGI(greet, lifespan="off"))
    async with serving(handler, HTTP) as server, connected(server) as client:
        reply = await client.ask("GET", "/bees?x=1", Traceparent=PARENT, User_Agent="test")
        await until(lambda: len(recorded.spans) == 1)
        port = client.writer.get_extra_info("sockname")[1]
    (span,) = recorded.spans
    assert reply.status == 200
    assert (span.name, span.kind, span.status.status_code) == (
        "GET",
        SpanKind.SERVER,
        StatusCode.UNSET,
    )
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.path": "/bees",
        "url.query": "x=1",
        "url.scheme": "http",
        "network.protocol.name": "http",
        "network.protocol.version": "1.1",
        "user_agent.original": "test",
        "server.address": "a",
        "client.address": "127.0.0.1",
        "client.port": port,
    }
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}" == TRACE


async def test_the_span_is_the_current_one_in_the_application(recorded: Recorded) -> None:
    seen: list[int] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)
        seen.append(trace.get_current_span().get_span_context().span_id)
        await respond(send)

    handler = recorded.instrument(vespiary.ASGI(app, lifespan="off"))
    async with serving(handler, HTTP) as server, connected(server) as client:
        await client.ask("GET", "/")
        await client.ask("GET", "/")
        await until(lambda: len(recorded.spans) == 2)
    assert seen == [span.context.span_id for span in recorded.spans if span.context]


async def test_a_route_names_the_span(recorded: Recorded) -> None:
    async def answer(request: Any) -> PlainTextResponse:
        return PlainTextResponse("a bee")

    app = Starlette(routes=[Route("/bees/{name}", answer)])
    handler = recorded.instrument(vespiary.ASGI(app))
    async with serving(handler, HTTP) as server, connected(server) as client:
        await client.ask("GET", "/bees/maya")
        await until(lambda: len(recorded.spans) == 1)
    (span,) = recorded.spans
    attributes = span.attributes or {}
    assert attributes["url.path"] == "/bees/maya"
    assert (span.name, attributes["http.route"]) == ("GET /bees/{name}", "/bees/{name}")


@pytest.mark.usefixtures("caplog")
async def test_an_exception_is_recorded_and_the_span_has_failed(recorded: Recorded) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        raise ValueError("no bees")

    handler = recorded.instrument(vespiary.ASGI(app, lifespan="off"))
    async with serving(handler, HTTP) as server, connected(server) as client:
        reply = await client.ask("GET", "/")
        await until(lambda: len(recorded.spans) == 1)
    (span,) = recorded.spans
    assert reply.status == 500
    assert span.status.status_code == StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "ValueError"
    assert [event.name for event in span.events] == ["exception"]


async def test_the_duration_of_requests_is_measured(recorded: Recorded) -> None:
    handler = recorded.instrument(vespiary.ASGI(greet, lifespan="off"))
    async with serving(handler, HTTP) as server, connected(server) as client:
        for _ in range(3):
            await client.ask("GET", "/")
        await until(lambda: len(recorded.spans) == 3)
    (point,) = recorded.points("http.server.request.duration")
    assert point.count == 3
    assert dict(point.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.scheme": "http",
    }


async def test_a_websocket_of_an_application_has_one_span(recorded: Recorded) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.close", "code": 4001})

    handler = recorded.instrument(vespiary.ASGI(app, lifespan="off"))
    async with serving(handler, HTTP) as server:
        url = server.urls[0].replace("http", "ws")
        async with vespiary.connect(url) as client:
            client.send("hello")
            with pytest.raises(vespiary.ConnectionClosed):
                await client.receive()
        await until(lambda: len(recorded.spans) == 1)
    (span,) = recorded.spans
    attributes = span.attributes or {}
    assert span.name == "WebSocket"
    assert attributes["http.response.status_code"] == 101
    assert attributes["vespiary.close_code"] == 4001
    assert recorded.points("http.server.request.duration") == []


async def test_a_wsgi_application_has_a_span_until_its_body_is_complete(
    recorded: Recorded,
) -> None:
    seen: list[int] = []

    def app(environ: Any, start_response: Any) -> Any:
        start_response("201 Created", [("Content-Type", "text/plain")])
        seen.append(trace.get_current_span().get_span_context().span_id)
        yield b"a"
        seen.append(trace.get_current_span().get_span_context().span_id)
        yield b"b"

    handler = recorded.instrument(vespiary.WSGI(app))
    async with serving(handler, HTTP) as server, connected(server) as client:
        reply = await client.ask("GET", "/x", Traceparent=PARENT)
        await until(lambda: len(recorded.spans) == 1)
    (span,) = recorded.spans
    assert (reply.status, reply.body) == (201, b"ab")
    assert (span.attributes or {})["http.response.status_code"] == 201
    assert span.parent is not None
    assert span.context is not None
    assert f"{span.parent.trace_id:032x}" == TRACE
    assert seen == [span.context.span_id] * 2


class Echo(vespiary.Handler[Any]):
    """Answers requests, and sends messages back."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
        """Accept WebSockets at /."""
        return None if request.target == "/" else request.respond(404, "nothing here")

    def on_message(self, connection: vespiary.Connection[Any], message: Any) -> None:
        """Send it back."""
        self.seen.append(trace.get_current_span().get_span_context().span_id)
        connection.send(message)


async def test_a_handlers_requests_and_connections_have_spans(recorded: Recorded) -> None:
    echo = Echo()
    async with serving(recorded.instrument(echo), WS) as server:
        async with vespiary.connect(server.urls[0]) as client:
            client.send("hello")
            assert await client.receive() == "hello"
        with pytest.raises(vespiary.HandshakeRefused):
            await vespiary.connect(server.urls[0].rstrip("/") + "/other")
        await until(lambda: len(recorded.spans) == 3)
    by_status = {
        (span.attributes or {}).get("http.response.status_code"): span for span in recorded.spans
    }
    assert by_status.keys() == {101, 404, None}
    connection = by_status[None]
    attributes = connection.attributes or {}
    assert connection.name == "WebSocket"
    assert connection.context is not None
    assert echo.seen == [connection.context.span_id]
    assert attributes["vespiary.messages_received"] == 1
    assert attributes["vespiary.close_code"] == 1000


async def test_an_async_function_has_a_span_for_each_connection(recorded: Recorded) -> None:
    async def serve(connection: vespiary.Connection[bytes]) -> None:
        async for message in connection:
            connection.send(message)

    async with serving(recorded.instrument(serve), "tcp://127.0.0.1:0") as server:
        client = await vespiary.connect(server.urls[0])
        client.send(b"hello")
        assert await client.receive() == b"hello"
        await client.close()
        await until(lambda: len(recorded.spans) == 1)
    (span,) = recorded.spans
    assert span.name == "connection"
    assert (span.attributes or {})["client.address"] == "127.0.0.1"


async def test_the_counters_of_a_server_are_metrics(recorded: Recorded) -> None:
    server = vespiary.Server()
    observe(server, meter_provider=recorded.meters)
    assert recorded.points("vespiary.messages_received") == []
    server.add(Echo(), WS)
    async with server, vespiary.connect(server.urls[0]) as client:
        client.send("hello")
        await client.receive()
        # In another thread, as a reader that exports periodically.
        points = await asyncio.to_thread(recorded.points, "vespiary.messages_received")
        assert [point.value for point in points] == [1]
        assert [dict(point.attributes) for point in points] == [
            {"vespiary.endpoint": server.urls[0]}
        ]
        (still_open,) = recorded.points("vespiary.connections_open")
        assert still_open.value == 1
    assert threading.current_thread() is threading.main_thread()


async def test_a_blocked_server_is_asked_once_in_a_collection(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_server_metrics, "_SECONDS_MAX", 0.01)
    monkeypatch.setattr(_server_metrics, "_SILENT_SECONDS", 3600.0)
    server = vespiary.Server()
    observe(server, meter_provider=recorded.meters)
    server.add(Echo(), WS)
    asked: list[object] = []
    monkeypatch.setattr(server, "call_soon_threadsafe", asked.append)
    async with server:
        points = await asyncio.to_thread(recorded.points, "vespiary.messages_received")
        assert points == []
    assert len(asked) == 1


async def test_a_handler_is_instrumented_once(recorded: Recorded) -> None:
    handler = vespiary.ASGI(greet, lifespan="off")
    recorded.instrument(handler)
    recorded.instrument(handler)
    async with serving(handler, HTTP) as server, connected(server) as client:
        await client.ask("GET", "/")
        await until(lambda: len(recorded.spans) == 1)
        await client.ask("GET", "/")
        await until(lambda: len(recorded.spans) == 2)


def test_what_is_not_a_handler_is_refused() -> None:
    with pytest.raises(vespiary.ConfigurationError, match="only an ASGI or WSGI"):
        instrument(greet.__name__)


def test_without_a_provider_a_handler_stays_as_it_is() -> None:
    program = (
        "import vespiary\n"
        "from vespiary.opentelemetry import instrument\n"
        "async def app(scope, receive, send): ...\n"
        "handler = vespiary.ASGI(app)\n"
        "assert instrument(handler) is handler\n"
        "assert handler._hosting.app is app\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)
