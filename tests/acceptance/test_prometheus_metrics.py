"""The example that shows its statistics to Prometheus."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from .conftest import Start

pytestmark = pytest.mark.acceptance


def samples(url: str) -> dict[tuple[str, str], float]:
    response = httpx.get(f"{url}metrics", trust_env=False).raise_for_status()
    return {
        (sample.name, sample.labels["endpoint"]): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_the_counters_are_those_of_the_traffic(start: Start) -> None:
    example = start("prometheus_metrics.py", "ws://127.0.0.1:0", "http://127.0.0.1:0")
    websocket, metrics = example.urls
    with connect(websocket) as client:
        for _ in range(10):
            client.send("hello")
            assert client.recv(timeout=60) == "hello"
        found = samples(metrics)
        assert found["vespiary_connections_open", websocket] == 1
        assert found["vespiary_messages_received_total", websocket] == 10
        assert found["vespiary_messages_sent_total", websocket] == 10
        assert found["vespiary_bytes_sent_total", websocket] > 50
        assert found["vespiary_handler_errors_total", websocket] == 0
    assert httpx.get(f"{metrics}elsewhere", trust_env=False).status_code == 404
    example.stop()
