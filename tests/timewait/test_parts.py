"""Small parts: ports, settings, who closed, the tracepoint's samples, alarms."""

import mmap
import struct
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vespiary.errors import ConfigurationError
from vespiary.prove.timewait.alarm import Condition
from vespiary.prove.timewait.closers import UNKNOWN, Closers
from vespiary.prove.timewait.diag import Row, Sockets
from vespiary.prove.timewait.events import Events, Layout, Unavailable
from vespiary.prove.timewait.kernel import Kernel, parse_pairs, parse_sockstat
from vespiary.prove.timewait.names import Names
from vespiary.prove.timewait.ports import BIND, CONNECT, ELSEWHERE, SERVED, PortRange, parse_numbers
from vespiary.prove.timewait.processes import Process
from vespiary.prove.timewait.report import Report
from vespiary.prove.timewait.ring import Record, Ring, records
from vespiary.prove.timewait.states import counts_by_name

CLIENT, OTHER = Process(10, "client"), Process(11, "other")
FORMAT = """\
name: inet_sock_set_state
ID: 2287
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;
\tfield:__u16 sport;\toffset:24;\tsize:2;\tsigned:0;
\tfield:__u16 dport;\toffset:26;\tsize:2;\tsigned:0;
\tfield:__u16 family;\toffset:28;\tsize:2;\tsigned:0;
\tfield:__u8 saddr[4];\toffset:32;\tsize:4;\tsigned:0;
\tfield:__u8 daddr[4];\toffset:36;\tsize:4;\tsigned:0;
\tfield:__u8 saddr_v6[16];\toffset:40;\tsize:16;\tsigned:0;
\tfield:__u8 daddr_v6[16];\toffset:56;\tsize:16;\tsigned:0;
"""


def row(port: int, state: int, inode: int) -> Row:
    return (2, state, 3 if state == 6 else 0, port, bytes(34), 50_000, inode)


def looked(closers: Closers, rows: list[Row], holders: dict[int, Process]) -> list[Any]:
    known = closers.know(Sockets.of(rows), holders)
    return [known.owners[number] for number in known.numbers]


def test_the_halves_of_a_range_leave_reserved_ports_out() -> None:
    ports = PortRange(40000, 40009, frozenset({40002, 40003, 40004, 80}))
    assert (ports.connect_ports, ports.bind_ports, ports.ports) == (3, 4, 7)
    lanes = ports.lanes([40001])
    by_port = {struct.unpack(">H", struct.pack("=H", i))[0]: lane for i, lane in enumerate(lanes)}
    assert by_port[40000] == CONNECT
    assert by_port[40001] == SERVED
    assert by_port[40005] == BIND
    assert by_port[40002] == ELSEWHERE
    assert by_port[443] == SERVED


def test_a_list_of_ports_may_have_ranges_or_be_empty() -> None:
    assert parse_numbers("8080,9000-9002\n") == {8080, 9000, 9001, 9002}
    assert parse_numbers("\n") == frozenset()


def test_counters_are_read_by_their_names_whatever_their_order() -> None:
    text = "TcpExt: A TW B\nTcpExt: 1 2 3\nIpExt: X\nIpExt: 9\n"
    assert parse_pairs(text) == {"TcpExt": {"A": 1, "TW": 2, "B": 3}, "IpExt": {"X": 9}}
    assert parse_sockstat("sockets: used 5\nTCP: inuse 2 tw 7\n", "TCP:") == {"inuse": 2, "tw": 7}
    assert parse_sockstat("", "TCP:") == {}


def test_a_setting_that_is_missing_has_its_default() -> None:
    assert Kernel().number("tcp_tw_reuse", 2) == 2
    assert Kernel().port_range.ports == 28_232


def test_a_request_socket_counts_as_syn_recv() -> None:
    counts = counts_by_name({12: 3, 3: 1, 6: 2})
    assert counts["syn_recv"] == 4
    assert counts["time_wait"] == 2


def test_a_connection_that_was_seen_keeps_its_owner() -> None:
    closers = Closers()
    assert looked(closers, [row(1, 1, 77)], {77: CLIENT})[0] == (CLIENT, "descriptor")
    assert looked(closers, [row(1, 6, 0), row(2, 6, 0)], {}) == [
        (CLIENT, "polling"),
        (None, "unknown"),
    ]
    assert looked(closers, [row(1, 6, 0)], {})[0] == (CLIENT, "polling")


def test_the_tracepoint_is_believed_before_polling() -> None:
    closers = Closers()
    looked(closers, [row(1, 1, 77)], {77: CLIENT})
    closers.note([((1, bytes(34)), OTHER)])
    assert looked(closers, [row(1, 6, 0)], {})[0] == (OTHER, "tracepoint")


def test_a_close_that_a_dump_shows_only_later_is_kept_until_then() -> None:
    closers = Closers()
    closers.note([((1, bytes(34)), OTHER)])
    assert looked(closers, [row(1, 1, 77)], {77: CLIENT})[0] == (CLIENT, "descriptor")
    assert looked(closers, [row(1, 6, 0)], {})[0] == (OTHER, "tracepoint")


def test_a_close_that_left_no_time_wait_is_forgotten() -> None:
    closers = Closers()
    closers.note([((1, bytes(34)), OTHER)])
    for _ in range(5):
        looked(closers, [], {})
        closers.note([])
    assert looked(closers, [row(1, 6, 0)], {})[0] == (None, "unknown")


def test_what_has_left_the_dump_is_forgotten() -> None:
    closers = Closers()
    looked(closers, [row(1, 1, 77)], {77: CLIENT})
    looked(closers, [], {})
    assert looked(closers, [row(1, 6, 0)], {})[0] == (None, "unknown")


def test_owners_of_long_ago_are_forgotten_and_those_of_now_are_not() -> None:
    closers = Closers()
    numbers = 0
    for pid in range(5000):
        rows = [row(1, 1, 77), row(2, 6, 0), row(3, 1, pid + 1000)]
        closers.note([((2, bytes(34)), CLIENT)] if pid == 0 else [])
        found = closers.know(Sockets.of(rows), {77: OTHER, pid + 1000: Process(pid, "x")})
        numbers = max(numbers, len(found.owners))
        assert found.owners[found.numbers[1]] == (CLIENT, "tracepoint")
        assert found.owners[found.numbers[0]] == (OTHER, "descriptor")
    assert numbers < 2500
    assert UNKNOWN == 0


def test_a_sample_gives_the_key_that_a_dump_gives() -> None:
    layout = Layout.parse(FORMAT)
    assert layout.identifier == 2287
    raw = bytearray(72)
    struct.pack_into("=HHH", raw, 24, 40000, 443, 2)
    raw[32:40] = b"\x0a\x00\x00\x01\xc0\x00\x02\x05"
    port = struct.unpack("=H", (40000).to_bytes(2))[0]
    source, destination = raw[32:36] + bytes(12), raw[36:40] + bytes(12)
    expected = (port, (443).to_bytes(2) + source + destination)
    assert layout.close(bytes(raw)) == (2, expected)
    struct.pack_into("=H", raw, 28, 10)
    raw[40:72] = bytes(range(32))
    assert layout.close(bytes(raw)) == (10, (port, (443).to_bytes(2) + bytes(range(32))))


def test_a_tracepoint_of_another_form_is_not_used() -> None:
    with pytest.raises(Unavailable, match="unknown format"):
        Layout.parse(FORMAT.replace("saddr_v6", "something"))


@given(st.binary(max_size=100))
def test_a_sample_of_any_bytes_breaks_nothing(raw: bytes) -> None:
    Layout.parse(FORMAT).close(raw)


NAMES = Names()


def packed(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHH", kind, 0, 8 + len(body)) + body


def sample(pid: int, time: int) -> bytes:
    raw = bytearray(72)
    struct.pack_into("=HHH", raw, 24, 40000 + time, 443, 2)
    return packed(9, struct.pack("=IIQI", pid, pid, time, 72) + bytes(raw))


def trailer(pid: int, time: int) -> bytes:
    return struct.pack("=IIQ", pid, pid, time)


def test_a_close_has_the_name_that_its_process_had_then() -> None:
    """The rings of two processors: a fork, an execution, an end, and closes between them."""
    child, parent = 4_194_999, 4_194_998
    fork = packed(7, struct.pack("=IIIIQ", child, parent, child, parent, 2) + trailer(parent, 2))
    named = packed(3, struct.pack("=II", parent, parent) + b"server\0\0" + trailer(parent, 1))
    executed = packed(3, struct.pack("=II", child, child) + b"curl\0\0\0\0" + trailer(child, 4))
    ended = packed(4, struct.pack("=IIIIQ", child, parent, child, parent, 6) + trailer(child, 6))
    lost = packed(2, struct.pack("=QQ", 1, 5) + trailer(0, 7))
    events = Events(Layout.parse(FORMAT), Names())
    first = sample(child, 3) + executed + sample(child, 5) + sample(child, 7)
    found = list(events.closes([first, named + fork + ended + lost]))
    assert [close.process for close in found] == [
        Process(child, "server"),
        Process(child, "curl"),
        Process(child, "curl"),
    ]
    assert events.lost == 5
    # Another process may have the number later.
    (later,) = events.closes([sample(child, 9)])
    assert later.process.name == "?"


@given(st.lists(st.binary(max_size=200), max_size=3))
def test_rings_of_any_bytes_break_nothing(taken: list[bytes]) -> None:
    list(Events(Layout.parse(FORMAT), NAMES).closes(taken))


@given(st.lists(st.tuples(st.integers(0, 12), st.binary(max_size=90)), max_size=6))
def test_records_of_any_content_break_nothing(written: list[tuple[int, bytes]]) -> None:
    data = b"".join(packed(kind, body) for kind, body in written)
    list(Events(Layout.parse(FORMAT), NAMES).closes([data]))


@given(st.text(max_size=200))
def test_a_kernel_file_of_any_text_is_read_as_far_as_it_makes_sense(text: str) -> None:
    parse_pairs(text)
    parse_sockstat(text, "TCP:")
    parse_sockstat("TCP: " + text, "TCP:")


@given(
    st.lists(st.tuples(st.integers(1, 20), st.binary(max_size=40)), max_size=12),
    st.integers(0, 511),
)
def test_records_are_read_from_a_ring_wherever_it_wraps(
    written: list[tuple[int, bytes]], start: int
) -> None:
    packed = [struct.pack("=IHH", kind, 0, 8 + len(body)) + body for kind, body in written]
    size = 512
    whole = b"".join(packed)[:size]
    memory = bytearray(mmap.PAGESIZE + size)
    for index, byte in enumerate(whole):
        memory[mmap.PAGESIZE + (start + index) % size] = byte
    struct.pack_into("=QQ", memory, 1024, start + len(whole), start)
    ring = Ring(cast("Any", memory), size)
    found = list(records(bytes(ring.take())))
    complete = 0
    for (kind, body), record in zip(written, found, strict=False):
        assert record == Record(kind, body)
        complete += 8 + len(body)
    assert complete == len(whole) or complete + len(packed[len(found)]) > size
    assert ring.take() == b""


@given(st.binary(max_size=200))
def test_any_bytes_are_some_records(data: bytes) -> None:
    assert sum(8 + len(record.body) for record in records(data)) <= len(data)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("time_wait > 20000", ("time_wait", ">", 20000)),
        ("time_wait>=20,000", ("time_wait", ">=", 20000)),
        ("cliff < 2min", ("cliff", "<", 120)),
        ("exhaustion<=90", ("exhaustion", "<=", 90)),
        ("used > 50%", ("used", ">", 0.5)),
        ("OVERFLOW > 0", ("overflow", ">", 0)),
    ],
)
def test_an_alarm_is_understood(text: str, parts: tuple[str, str, float]) -> None:
    found = Condition.parse(text)
    assert (found.name, found.compare, found.value) == parts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time_wiat > 5", "did you mean 'time_wait'?"),
        ("xyzzy > 5", "there are established"),
        ("time_wait", "write one such as"),
        ("time_wait = 5", "write one such as"),
        ("time_wait > 5s", "a time can be given only for cliff"),
        ("time_wait > 5%", "a percentage can be given only for 'used'"),
        ("used > 5", "a percentage can be given only for 'used'"),
        ("cliff < .", "'.' is not a number"),
    ],
)
def test_an_alarm_that_makes_no_sense_is_an_error_with_advice(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be understood") as raised:
        Condition.parse(text)
    assert words in str(raised.value)


def test_an_alarm_for_a_time_is_not_reached_without_a_forecast() -> None:
    report = cast("Report", {"forecasts": [], "budgets": [], "states": {}})
    assert Condition.parse("cliff < 60s").reached(report) is None
    forecasts = [{"kind": "cliff", "seconds": 41.5}, {"kind": "exhaustion", "seconds": 90.0}]
    report = cast("Report", {"forecasts": forecasts, "budgets": [], "states": {}})
    reached = Condition.parse("cliff < 60s").reached(report)
    assert reached is not None
    assert reached["text"] == "cliff is 41.5 s"
    assert Condition.parse("exhaustion < 60s").reached(report) is None
