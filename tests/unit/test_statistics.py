import dataclasses
import inspect

from vespiary.statistics import (
    ConnectionStatistics,
    EndpointStatistics,
    PortStatistics,
    ServerStatistics,
    ThreadStatistics,
    TimerStatistics,
    TopicStatistics,
)


def test_every_field_of_every_class_is_documented() -> None:
    for cls in (
        ConnectionStatistics,
        EndpointStatistics,
        PortStatistics,
        ServerStatistics,
        ThreadStatistics,
        TimerStatistics,
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


def test_timers_that_have_not_fired_are_late_by_nothing() -> None:
    assert TimerStatistics().late_seconds_mean == 0.0
    timers = TimerStatistics(timers_fired=4, late_seconds_total=1.0)
    assert timers.late_seconds_mean == 0.25


def test_threads_of_two_endpoints_are_added_and_the_longest_wait_is_one_of_theirs() -> None:
    assert ThreadStatistics().wait_seconds_mean == 0.0
    one = ThreadStatistics(threads=2, calls_run=3, wait_seconds_max=0.5, wait_seconds_total=0.5)
    two = ThreadStatistics(threads=1, calls_run=1, wait_seconds_max=1.5, wait_seconds_total=1.5)
    both = one + two
    assert (both.threads, both.calls_run, both.wait_seconds_max) == (3, 4, 1.5)
    assert both.wait_seconds_mean == 0.5


def test_the_total_of_a_server_without_endpoints_is_nothing() -> None:
    server = ServerStatistics(port=PortStatistics(driver="epoll"))
    assert server.total == EndpointStatistics()
