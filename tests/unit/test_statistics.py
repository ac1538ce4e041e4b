import dataclasses
import inspect

from vespiary.statistics import (
    ConnectionStatistics,
    EndpointStatistics,
    PortStatistics,
    ServerStatistics,
    TopicStatistics,
)


def test_every_field_of_every_class_is_documented() -> None:
    for cls in (
        ConnectionStatistics,
        EndpointStatistics,
        PortStatistics,
        ServerStatistics,
        TopicStatistics,
    ):
        for field in dataclasses.fields(cls):
            assert f"\n    {field.name}: " in (inspect.getdoc(cls) or ""), field.name


def test_the_total_of_a_server_sums_counts_and_counts_by_name() -> None:
    one = EndpointStatistics(
        url="tcp://127.0.0.1:1", messages_received=2, limits_reached={"a": 1, "b": 2}
    )
    two = EndpointStatistics(
        url="tcp://127.0.0.1:2", messages_received=3, limits_reached={"b": 1, "c": 4}
    )
    server = ServerStatistics(port=PortStatistics(driver="epoll"), endpoints=(one, two))
    assert server.total == EndpointStatistics(
        messages_received=5, limits_reached={"a": 1, "b": 3, "c": 4}
    )


def test_the_total_of_a_server_without_endpoints_is_nothing() -> None:
    server = ServerStatistics(port=PortStatistics(driver="epoll"))
    assert server.total == EndpointStatistics()
