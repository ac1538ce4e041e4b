"""Metrics for Prometheus: the server's statistics at /metrics, with prometheus-client.

Vespiary counts automatically. The program reads the counters when Prometheus requests them.

Needs: pip install prometheus-client
Run:   .venv/bin/python examples/prometheus_metrics.py [WS_URL [HTTP_URL]]
       (default ws://127.0.0.1:9001 and http://127.0.0.1:9100)
Talk:  curl http://127.0.0.1:9100/metrics
"""

import sys
from collections.abc import Iterator
from dataclasses import fields

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import vespiary

# These also fall; the others only count.
GAUGES = {"connections_open", "connections_finishing", "handshakes_pending"}


class Statistics(Collector):
    """Reads a server's statistics."""

    def __init__(self, server: vespiary.Server) -> None:
        self.server = server

    def collect(self) -> Iterator[Metric]:
        """Return all numbers of the statistics, for each endpoint."""
        endpoints = self.server.statistics().endpoints
        for field in fields(vespiary.EndpointStatistics):
            if field.type not in (int, "int"):
                continue
            kind = GaugeMetricFamily if field.name in GAUGES else CounterMetricFamily
            family = kind(f"vespiary_{field.name}", field.name, labels=["endpoint"])
            for endpoint in endpoints:
                family.add_metric([endpoint.url], getattr(endpoint, field.name))
            yield family


class Metrics(vespiary.Handler):
    """The page that Prometheus reads."""

    def on_start(self, server: vespiary.Server) -> None:
        """Create the registry."""
        self.registry = CollectorRegistry()
        self.registry.register(Statistics(server))

    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        """GET /metrics."""
        if request.path != "/metrics":
            return request.respond(404)
        body = generate_latest(self.registry)
        return request.respond(200, body, {"Content-Type": CONTENT_TYPE_LATEST})


class Echo(vespiary.Handler):
    """Sends messages back."""

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        """Send it back."""
        connection.send(message)


if __name__ == "__main__":
    urls = [*sys.argv[1:], *["ws://127.0.0.1:9001", "http://127.0.0.1:9100"][len(sys.argv) - 1 :]]
    server = vespiary.Server()
    server.add(Echo(), urls[0])
    server.add(Metrics(), urls[1])
    server.run()
