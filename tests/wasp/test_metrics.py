"""Metrics: what is counted is in them, the parser reads them, and Grafana's file fits."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from websockets.sync.client import connect

from tests.waiting import wait_until
from tests.wasp.conftest import Lines, Run, Running, address_of
from tests.wasp.operating import ask, is_ended
from vespiary.wasp.host_counters import host_counters
from vespiary.wasp.latency import BOUNDS_SECONDS, Histogram, quantile

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "examples" / "wasp" / "grafana.json"
REFERENCE = ROOT / "docs" / "reference" / "metrics.md"

Families = dict[str, Any]

TEXT = """\
{workers}
[admin]
url = "http://127.0.0.1:{port}/"
handler_seconds = true

[endpoints.lines]
url = "tcp://127.0.0.1:0"
plugin = "plug.py:Greeter"
framing = "line"
limits = {{ message_bytes_max = 100 }}

[endpoints.socket]
url = "ws://127.0.0.1:0/"
plugin = "plug.py:Greeter"

[endpoints.page]
url = "http://127.0.0.1:0/"
plugin = "plug.py:Page"

[endpoints.asgi]
url = "http://127.0.0.1:0/"
plugin = "apps.py:asgi"

[endpoints.wsgi]
url = "http://127.0.0.1:0/"
plugin = "apps.py:wsgi"
"""

APPLICATIONS = """\
async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"hello"})

def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]
"""


def families(port: int) -> Families:
    """All metrics as OpenMetrics, by the name of the family."""
    answer = ask(port, "GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    parsed = text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
    return {family.name: family for family in parsed}


def values(found: Families, name: str, *labels: str) -> dict[Any, float]:
    """The values of a family, by these labels; one label gives plain keys."""
    family = found[name]
    suffix = "_total" if family.type == "counter" else ""
    made: dict[Any, float] = {}
    for sample in family.samples:
        if sample.name == name + suffix:
            key = tuple(sample.labels[label] for label in labels)
            made[key if len(key) > 1 else "".join(key)] = sample.value
    return made


@pytest.fixture(autouse=True)
def applications(folder: Path) -> None:
    """The file with the applications."""
    (folder / "apps.py").write_text(APPLICATIONS)


def use(server: Running, lines: Callable[[str], Lines]) -> None:
    """A message on each endpoint, a close code, a limit that is reached."""
    for url in server.urls[3:5]:
        assert ask(address_of(url)[1], "GET", "/").text == "hello"
    client, other = lines(server.urls[0]), lines(server.urls[0])
    assert client.ask("Ann") == "hello Ann 1"
    other.socket.sendall(b"x" * 200 + b"\n")
    assert is_ended(other)
    other.close()
    with connect(server.urls[1]) as socket_client:
        socket_client.send("Ben")
        assert socket_client.recv() == "hello Ben 1"
        socket_client.close(4000)


def test_what_happens_is_counted(run: Run, lines: Callable[[str], Lines], port: int) -> None:
    server = run(TEXT.format(workers="", port=port))
    server.serves(7)
    use(server, lines)
    wait_until(lambda: values(families(port), "vespiary_close_codes", "code"))
    found = families(port)
    assert values(found, "vespiary_close_codes", "endpoint", "code") == {("socket", "4000"): 1}
    reached = values(found, "vespiary_limits_reached", "endpoint", "limit")
    assert reached == {("lines", "message_bytes_max"): 1}
    assert values(found, "vespiary_messages_received", "endpoint")["lines"] == 1
    plugins = values(found, "vespiary_plugin_messages_received", "plugin")
    assert plugins["plug.py:Greeter"] == 2
    assert values(found, "vespiary_endpoint_serving", "endpoint")["page"] == 1
    assert values(found, "vespiary_write_queue_bytes", "endpoint")["lines"] == 0
    handled = found["vespiary_handler_seconds"].samples
    counts = {
        sample.labels["endpoint"]: sample.value
        for sample in handled
        if sample.name == "vespiary_handler_seconds_count"
    }
    assert counts == {"lines": 1, "socket": 1, "page": 0, "asgi": 1, "wsgi": 1}
    if "time_wait" in host_counters():
        assert found["vespiary_host_time_wait"].samples[0].value >= 0
    wait_until(lambda: loop_delays(port)[""] > 0)


def loop_delays(port: int) -> dict[str, float]:
    """How often the delay of each process was measured."""
    return {
        sample.labels["worker"]: sample.value
        for sample in families(port)["vespiary_loop_delay_seconds"].samples
        if sample.name == "vespiary_loop_delay_seconds_count"
    }


def test_each_worker_is_measured_and_the_sums_are_those_of_all(
    run: Run, lines: Callable[[str], Lines], port: int
) -> None:
    # No broker is there: the metrics of a cluster are.
    own = 'workers = 2\ncluster = "nats://127.0.0.1:1"'
    server = run(TEXT.format(workers=own, port=port))
    server.serves(7)
    use(server, lines)
    wait_until(lambda: set(loop_delays(port)) == {"1", "2"})
    found = families(port)
    accepted = values(found, "vespiary_worker_connections_accepted", "worker")
    assert set(accepted) == {"1", "2"}
    assert sum(accepted.values()) == 5
    assert values(found, "vespiary_close_codes", "endpoint", "code") == {("socket", "4000"): 1}
    memory = values(found, "vespiary_process_memory_bytes", "worker")
    assert all(value > 1 << 20 for value in memory.values())
    # These are there without workers only.
    alone = ("vespiary_reloads_total", "vespiary_reloads_failed_total")
    known = {*found, *alone, "vespiary_last_reload_successful"}
    names = used_in_grafana() | named_in_reference()
    assert {name for name in names if name not in samples_of(found) and name not in known} == set()


def samples_of(found: Families) -> set[str]:
    """The names that Prometheus stores: of a histogram those of its parts."""
    names = set()
    for name, family in found.items():
        suffixes = {
            "counter": ("_total",),
            "histogram": ("_bucket", "_sum", "_count"),
        }.get(family.type, ("",))
        names |= {name + suffix for suffix in suffixes}
    return names


def used_in_grafana() -> set[str]:
    """The metrics in the expressions of Grafana's file."""
    panels = json.loads(GRAFANA.read_text())["panels"]
    expressions = [one["expr"] for panel in panels for one in panel.get("targets", ())]
    assert len(expressions) > 20
    return {name for text in expressions for name in re.findall(r"\bvespiary_\w+", text)}


def named_in_reference() -> set[str]:
    """The metrics in the reference."""
    found = set(re.findall(r"`(vespiary_\w+)`", REFERENCE.read_text()))
    assert len(found) > 40
    return found


def test_the_file_for_grafana_is_complete() -> None:
    board = json.loads(GRAFANA.read_text())
    assert board["title"] == "Vespiary"
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert all(panel["title"] and panel["targets"] for panel in panels)
    variables = {one["name"] for one in board["templating"]["list"]}
    assert variables == {"datasource", "job", "endpoint"}


def test_a_histogram_counts_by_range() -> None:
    histogram = Histogram()
    for seconds in (0.0, 0.0001, 0.0002, 0.3, 100.0):
        histogram.observe(seconds)
    counts = histogram.values()["counts"]
    assert len(counts) == len(BOUNDS_SECONDS) + 1
    assert (counts[0], counts[1], counts[-1]) == (2, 1, 1)
    assert histogram.values()["sum"] == pytest.approx(100.3003)
    assert quantile(counts, 0.5) == 0.00025
    assert quantile(counts, 0.99) == float("inf")
    assert quantile([0] * len(counts), 0.5) is None
