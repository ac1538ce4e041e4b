import dataclasses
import inspect
import pickle
import subprocess
import sys
from typing import Any

import pytest

import vespiary
import vespiary.testing
from vespiary.errors import ConfigurationError, LimitsError
from vespiary.limits import Deadlines, Limits


def test_every_field_of_both_classes_has_a_documented_reason() -> None:
    for cls in (Limits, Deadlines):
        for field in dataclasses.fields(cls):
            assert f"\n    {field.name}: " in (inspect.getdoc(cls) or ""), field.name


def test_every_deadline_says_its_unit_last() -> None:
    assert all(field.name.endswith("_seconds") for field in dataclasses.fields(Deadlines))


def test_limits_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().message_bytes_max = 1  # type: ignore[misc]


def test_limits_survive_pickling() -> None:
    limits = Limits(message_bytes_max=7)
    assert pickle.loads(pickle.dumps(limits)) == limits


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "8", 1 << 63])
def test_a_limit_that_is_not_a_count_is_refused_with_its_name_and_value(value: Any) -> None:
    with pytest.raises(LimitsError, match=r"Limits\.connections_max must be a whole number") as got:
        Limits(connections_max=value)
    assert got.value.subject == "connections_max"
    assert got.value.value == value


def test_a_limit_that_cannot_be_lifted_refuses_none() -> None:
    with pytest.raises(
        LimitsError, match=r"Limits\.header_bytes_max must be a whole number .*None"
    ):
        Limits(header_bytes_max=None)  # type: ignore[arg-type]


def test_a_limit_that_can_be_lifted_takes_none() -> None:
    assert Limits(message_bytes_max=None).message_bytes_max is None


@pytest.mark.parametrize(
    "bounds",
    [
        {"write_low_bytes": 100_000},
        {"write_high_bytes": 1},
        {"write_bytes_max": 1_000},
    ],
)
def test_the_bounds_of_the_write_queue_stand_in_order(bounds: dict[str, int]) -> None:
    with pytest.raises(LimitsError, match="write_low_bytes <= write_high_bytes <= write_bytes_max"):
        Limits(**bounds)


def test_equal_bounds_of_the_write_queue_are_accepted() -> None:
    Limits(write_low_bytes=5, write_high_bytes=5, write_bytes_max=5)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "5", True, 1e12])
def test_a_deadline_that_is_not_a_time_is_refused_with_its_name(value: Any) -> None:
    with pytest.raises(LimitsError, match=r"Deadlines\.idle_seconds must be a number of seconds"):
        Deadlines(idle_seconds=value)


def test_a_deadline_takes_whole_numbers_and_fractions_and_none() -> None:
    deadlines = Deadlines(idle_seconds=3, handshake_seconds=0.25, drain_seconds=None)
    assert (deadlines.idle_seconds, deadlines.handshake_seconds) == (3, 0.25)
    assert deadlines.drain_seconds is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1000", 1000),
        ("1_000", 1000),
        ("64KiB", 65_536),
        ("64 kib", 65_536),
        ("64k", 65_536),
        ("2MiB", 1 << 21),
        ("1G", 1 << 30),
        ("none", None),
        ("None", None),
    ],
)
def test_a_limit_is_read_from_a_text(text: str, value: int | None) -> None:
    assert Limits.from_texts({"message_bytes_max": text}).message_bytes_max == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("10", 10.0), ("250ms", 0.25), ("5s", 5.0), ("2min", 120.0), ("1.5h", 5400.0), ("none", None)],
)
def test_a_deadline_is_read_from_a_text(text: str, value: float | None) -> None:
    assert Deadlines.from_texts({"idle_seconds": text}).idle_seconds == value


@pytest.mark.parametrize("text", ["", "x", "-1", "1TiB", "1.5", "٣"])
def test_a_text_that_is_not_a_count_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(LimitsError, match="64KiB"):
        Limits.from_texts({"message_bytes_max": text})


@pytest.mark.parametrize("text", ["", "soon", "-1", "5 days", "1e3"])
def test_a_text_that_is_not_a_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(LimitsError, match="250ms"):
        Deadlines.from_texts({"idle_seconds": text})


def test_an_unknown_limit_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(LimitsError, match="did you mean 'message_bytes_max'"):
        Limits.from_texts({"message_byte_max": "1"})


def test_an_unknown_deadline_without_a_near_name_is_refused_with_all_names() -> None:
    with pytest.raises(LimitsError, match="there are handshake_seconds, "):
        Deadlines.from_texts({"zzz": "1"})


def test_a_limits_error_is_a_configuration_error_and_a_value_error() -> None:
    assert issubclass(LimitsError, ConfigurationError)
    assert issubclass(LimitsError, ValueError)


@pytest.mark.parametrize("name", [item.name for item in dataclasses.fields(Limits)])
@pytest.mark.parametrize("value", [1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1])
def test_a_count_that_is_accepted_is_one_that_a_server_starts_with(name: str, value: int) -> None:
    others = ("write_low_bytes", "write_high_bytes", "write_bytes_max")
    larger = others[others.index(name) :] if name in others else (name,)
    fields: dict[str, Any] = dict.fromkeys(larger, value)
    if value >= 1 << 32 and (name == "fragments_max" or "_bytes" not in name):
        in_32_bits = name not in ("headers_max", "inbox_messages_max")
        if in_32_bits:
            with pytest.raises(
                LimitsError, match=rf"Limits.{name} must be .* from 1 to 4294967295"
            ):
                Limits(**fields)
            return
    limits = Limits(**fields)

    async def main() -> None:
        server = vespiary.Server(signals=False)
        server.add(vespiary.Handler, "ws://127.0.0.1:0", limits=limits)
        async with server, vespiary.connect(server.urls[0], limits=limits) as connection:
            await connection.ping()

    vespiary.testing.run(main())


@pytest.mark.parametrize("name", [item.name for item in dataclasses.fields(Limits)])
def test_the_error_for_a_count_beyond_64_bits_says_the_range(name: str) -> None:
    fields: dict[str, Any] = {name: 1 << 63}
    with pytest.raises(LimitsError, match=rf"Limits.{name} must be a whole number from [01] to"):
        Limits(**fields)


SETTINGS_AGAIN_AND_AGAIN = """
import sys
from vespiary._options import native_options
from vespiary.endpoint import Endpoint
from vespiary.limits import Deadlines, Limits
from vespiary import Compression, WebSocket

endpoint = Endpoint.parse("ws://127.0.0.1:1/")

def make():
    websocket = WebSocket(compression=Compression())
    native_options(endpoint, None, Limits(), Deadlines(), "wait", websocket=websocket)

for _ in range(100):
    make()
before = sys.getallocatedblocks()
for _ in range(300):
    make()
print(sys.getallocatedblocks() - before)
"""


def test_the_settings_of_a_connection_leave_no_memory_behind() -> None:
    """Not even with CPython, which keeps 2,000 freed tuples of each length.

    In an interpreter of its own, as an older one has kept them by now.
    """
    words = [sys.executable, "-c", SETTINGS_AGAIN_AND_AGAIN]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=100)
    assert int(done.stdout) < 100


@pytest.mark.parametrize("name", ["messages_per_second_max", "rate_limit"])
def test_a_limit_of_rates_names_what_there_is(name: str) -> None:
    with pytest.raises(LimitsError, match="RateLimit limits the bytes per second"):
        Limits(**{name: 3})
    with pytest.raises(LimitsError, match="RateLimit limits the bytes per second"):
        Limits.from_texts({name: "3"})
