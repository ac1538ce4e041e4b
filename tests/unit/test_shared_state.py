"""What the processes of a server share: who is present, and what topics retain."""

import heapq
import itertools
import json
import random
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest

from vespiary.errors import SendRefused
from vespiary.workers import _backplane, _state
from vespiary.workers._backplane import Published, Stated
from vespiary.workers._retained import DISCARDED_SECONDS, Stamps, is_stamp
from vespiary.workers._state import LOST_SECONDS, SharedState


class Timer:
    """A call that is due."""

    def __init__(self) -> None:
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """Virtual time."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._numbers = itertools.count()
        self._calls: list[tuple[float, int, Callable[[], object], Timer]] = []

    def time(self) -> float:
        return self._now

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        timer = Timer()
        heapq.heappush(self._calls, (self._now + seconds, next(self._numbers), call, timer))
        return timer

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self._now + seconds
        while self._calls and self._calls[0][0] <= end:
            self._now, _, call, timer = heapq.heappop(self._calls)
            if not timer.is_cancelled:
                call()
        self._now = end


class Topics:
    """The topics of one process: what was delivered, and what is retained."""

    def __init__(self) -> None:
        self.kept: dict[str, str | bytes] = {}
        self.delivered: list[str | bytes] = []
        self.kept_max = 1_000_000

    def publish(
        self, topic: str, message: str | bytes, but: None, compress: bool | None, retain: bool
    ) -> int:
        if retain and topic not in self.kept and len(self.kept) >= self.kept_max:
            raise SendRefused("too many are retained")
        self.delivered.append(message)
        if retain:
            self.kept[topic] = message
        return 0

    def retained(self, topic: str) -> str | bytes | None:
        return self.kept.get(topic)

    def discard_retained(self, topic: str) -> bool:
        return self.kept.pop(topic, None) is not None


class Connection:
    """A connection that is open until it is not."""

    is_open = True


class Process:
    """A process of a server."""

    def __init__(self, net: "Net", name: str) -> None:
        self.topics = Topics()
        self.state = SharedState(
            name, cast("Any", net.loop), cast("Any", self.topics), net.members_max
        )
        self.name, self.net = name, net
        self.ids = itertools.count(1)

    def enter(self, topic: str, info: str) -> Connection:
        connection = Connection()
        name = f"0.{self.name}.{next(self.ids)}"
        self.state.presence.enter(cast("Any", connection), name, topic, info)
        return connection

    def infos(self, topic: str) -> list[str]:
        return sorted(member.info for member in self.state.presence.members(topic))

    def retain(self, topic: str, message: str | None) -> Published:
        """Publish here; what is returned is on its way to the others."""
        if message is None:
            self.topics.discard_retained(topic)
        else:
            self.topics.publish(topic, message, None, None, True)
        stamp = self.state.retain(topic, message, None)
        return Published(topic, message, None, message is not None, stamp)


class Net:
    """Carries packets between processes, or loses them."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.processes: dict[str, Process] = {}
        self.cut: set[str] = set()
        self.loses: Callable[[], bool] = lambda: False
        self.packets = 0
        self.members_max = 1000

    def add(self, name: str) -> Process:
        made = self.processes[name] = Process(self, name)
        made.state.connect(lambda stated: self.carry(name, stated), lambda _: False)
        return made

    def carry(self, sender: str, stated: Stated) -> None:
        for name, one in self.processes.items():
            if name == sender or self.loses() or {name, sender} & self.cut:
                continue
            self.packets += 1
            self.loop.call_later(0, partial(one.state.receive, stated))


@pytest.fixture
def net() -> Net:
    return Net()


def test_each_process_knows_who_is_present_in_the_others(net: Net) -> None:
    one, two = net.add("one"), net.add("two")
    leaving = one.enter("room", "Ann")
    two.enter("room", "Bob")
    net.loop.run(1.5)
    late = net.add("late")
    net.loop.run(1.5)
    for process in (one, two, late):
        assert process.infos("room") == ["Ann", "Bob"]
    one.enter("room", "Cat")
    leaving.is_open = False
    net.loop.run(0.5)
    for process in (one, two, late):
        assert process.infos("room") == ["Bob", "Cat"]
    one.state.stop()
    # Another thread may ask for this at the same time.
    one.state.run()
    net.loop.run(0.1)
    assert late.infos("room") == ["Bob"]
    net.loop.run(60)
    assert late.infos("room") == ["Bob"]


def test_a_process_that_is_not_heard_of_is_removed_and_this_is_reported(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = net.add("one"), net.add("two")
    one.enter("room", "Ann")
    net.loop.run(1.5)
    assert two.infos("room") == ["Ann"]
    net.cut.add("one")
    net.loop.run(LOST_SECONDS - 1)
    assert two.infos("room") == ["Ann"]
    net.loop.run(2.5)
    assert two.infos("room") == []
    assert two.state.lost == 1
    assert "Removed 1 member of process one" in caplog.text
    one.enter("room", "Bob")
    net.cut.clear()
    net.loop.run(2.5)
    assert two.infos("room") == ["Ann", "Bob"]


def test_nobody_is_removed_while_the_broker_is_away(net: Net) -> None:
    one, two = net.add("one"), net.add("two")
    one.enter("room", "Ann")
    net.loop.run(1.5)
    two.state.connect(lambda _: None, lambda process: process == "one" and bool(net.cut))
    net.cut.add("one")
    net.loop.run(60)
    assert two.infos("room") == ["Ann"]
    net.cut.clear()
    net.loop.run(60)
    assert two.infos("room") == ["Ann"]


def test_a_process_that_was_blocked_removes_nobody_whose_packets_wait(net: Net) -> None:
    one, two = net.add("one"), net.add("two")
    one.enter("room", "Ann")
    net.loop.run(1.5)
    # Time passes while nothing runs.
    net.loop._now += 30
    net.loop.run(0.3)
    assert two.infos("room") == ["Ann"]
    assert two.state.lost == 0


@pytest.mark.parametrize("seed", range(20))
def test_lost_packets_only_delay_what_is_known(net: Net, seed: int) -> None:
    rng = random.Random(seed)
    all_three = [net.add(name) for name in ("one", "two", "three")]
    net.loses = lambda: rng.random() < 0.3
    there: list[tuple[Process, Connection]] = []
    for number in range(60):
        process = rng.choice(all_three)
        there.append((process, process.enter("room", str(number))))
        if rng.random() < 0.5:
            there.pop(rng.randrange(len(there)))[1].is_open = False
        if rng.random() < 0.5:
            # Sent to some, and lost on the way to others.
            published = process.retain(f"topic {rng.randrange(5)}", f"message {number}")
            for other in all_three:
                if other is not process and rng.random() < 0.5:
                    other.state.deliver(published)
        net.loop.run(rng.random())
    net.loses = lambda: False
    net.loop.run(200)
    expected = all_three[0].infos("room")
    assert len(expected) == len(there)
    for process in all_three:
        assert process.infos("room") == expected
        assert process.topics.kept == all_three[0].topics.kept


def test_the_members_of_other_processes_have_a_limit(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = net.add("one"), net.add("two")
    for number in range(600):
        one.enter(f"room {number}", "x" * 500)
        two.enter(f"room {number}", "y" * 500)
    net.loop.run(3)
    late = net.add("late")
    net.loop.run(5)
    for process in (one, two, late):
        assert process.state.presence.own_count + process.state.presence.others_count == 1000
    assert caplog.text.count("members_max is reached") == 3
    with pytest.raises(SendRefused, match=r"members_max"):
        late.enter("room", "one more")


def test_a_long_list_comes_in_turns_and_what_changes_meanwhile_is_in_it(net: Net) -> None:
    net.members_max = 100_000
    one = net.add("one")
    for number in range(20_000):
        one.enter("room", f"{number:06} {'x' * 50}")
    net.loop.run(3)
    late = net.add("late")
    turns: list[int] = []
    gone = one.enter("room", "gone")
    while len(late.infos("room")) < 20_000:
        packets = net.packets
        net.loop.run(0.1)
        turns.append(net.packets - packets)
        gone.is_open = False
        gone = one.enter("room", f"later {len(turns)}")
        assert len(turns) < 200
    assert max(turns) <= 25
    assert len(turns) > 5
    net.loop.run(0.5)
    # The list was sent once: no change was missed.
    assert late.infos("room") == one.infos("room")
    assert sum(turns) < 400


def test_the_last_retained_message_wins_in_whichever_order_they_come(net: Net) -> None:
    one, two, three = (net.add(name) for name in ("one", "two", "three"))
    first = one.retain("state", "old")
    second = two.retain("state", "new")
    for process, order in ((one, [second]), (two, [first]), (three, [second, first])):
        for published in order:
            process.state.deliver(published)
    for process in (one, two, three):
        assert process.topics.kept == {"state": "new"}
    # Subscribers get both, and the later one only once.
    assert three.topics.delivered == ["new", "old"]
    three.state.deliver(second)
    assert three.topics.delivered == ["new", "old"]
    gone = three.retain("state", None)
    for process in (one, two):
        process.state.deliver(gone)
        process.state.deliver(second)
        assert process.topics.kept == {}


def test_a_process_that_starts_gets_what_others_retain(net: Net) -> None:
    one, two = net.add("one"), net.add("two")
    for number in range(1200):
        two.state.deliver(one.retain(f"topic {number}", f"message {number}"))
    for number in range(0, 1200, 3):
        two.state.deliver(one.retain(f"topic {number}", None))
    late = net.add("late")
    net.loop.run(30)
    assert late.topics.kept == one.topics.kept == two.topics.kept
    assert len(late.topics.kept) == 800
    packets = net.packets
    net.loop.run(10)
    # Nothing is compared any more: each announces itself to two others, every second.
    assert net.packets - packets <= 10 * 3 * 2 + 6


def test_what_the_limit_does_not_allow_is_delivered_once_and_not_retained(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = net.add("one"), net.add("two")
    two.topics.kept_max = 1
    for number in range(2):
        one.retain(f"topic {number}", f"message {number}")
    net.loop.run(300)
    assert len(two.topics.kept) == 1
    assert two.topics.delivered == ["message 0", "message 1"]
    assert caplog.text.count("is not retained: too many are retained") == 1


def test_a_clock_that_is_behind_does_not_bring_back_what_was_replaced() -> None:
    quick, slow = Stamps("quick", lambda: 2_000_000), Stamps("slow", lambda: 1_000_000)
    first = quick.next()
    slow.put("topic", first, is_kept=True)
    second = slow.next()
    assert second > first
    assert quick.is_newer("topic", second)
    assert not quick.is_newer("topic", first) or quick.get("topic") is None
    assert is_stamp(second)
    assert not is_stamp(b"\xff" * 16)
    assert not is_stamp(b"short")


def test_discarded_messages_are_remembered_for_some_minutes() -> None:
    now = [1_000_000_000]
    stamps = Stamps("one", lambda: now[0])
    old = stamps.next()
    stamps.put("topic", stamps.next(), is_kept=False)
    assert not stamps.is_newer("topic", old)
    now[0] += int(DISCARDED_SECONDS * 1e9) + 1
    stamps.put("other", stamps.next(), is_kept=False)
    assert stamps.get("topic") is None


ODD = [
    b"", b"{", b"[]", b"5", b'{"k":"beat"}', b'{"k":"what","p":"x","n":1}',
    b'{"k":"beat","p":"x","n":-1,"d":"0"}', b'{"k":"beat","p":"x","n":1,"d":"zz"}',
    b'{"k":"changes","p":"x","n":1,"c":[[1,2,3]]}', b'{"k":"changes","p":"x","n":1,"c":5}',
    b'{"k":"whole","p":"x","n":1,"i":0,"of":"2","c":[]}', b'{"k":"want","p":"x","t":[[]]}',
    b'{"k":"kept","p":"x","t":"t","s":"zz","z":null,"text":true}', b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("data", ODD)
def test_an_odd_packet_is_reported_once_and_changes_nothing(
    net: Net, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    one, two = net.add("one"), net.add("two")
    two.enter("room", "Bob")
    net.loop.run(2)
    one.state.receive(Stated("", data))
    one.state.receive(Stated("", data))
    assert caplog.text.count("is not valid") == 1
    net.loop.run(2)
    assert one.infos("room") == ["Bob"]


def test_parts_fit_in_a_packet_whatever_they_contain(net: Net) -> None:
    one, two = net.add("one"), net.add("two")
    for number in range(200):
        one.enter(f"{number}" + "é" * 100, "\x00\U0001f41d" * 200)
    net.loop.run(3)
    assert two.state.presence.others_count == 200
    parts = list(_state._parts(one.state.presence.whole()))
    sizes = [len(json.dumps(part, separators=(",", ":"))) for part in parts]
    # As few as fit: each but the last one is nearly full.
    assert max(sizes) < _backplane._PACKET_BYTES_MAX
    assert min(sizes[:-1]) > _state._PART_BYTES // 3
