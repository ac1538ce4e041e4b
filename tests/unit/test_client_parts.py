"""The client's pure parts: back-off, Retry-After, redirects out of TLS, addresses in turn, URLs."""

import asyncio
import base64
import email.utils
import random
import socket

import pytest

import vespiary
from vespiary._asked import without_credentials
from vespiary._race import Address, Race, interleaved
from vespiary._redirects import Target, next_target
from vespiary.backoff import Attempts, Backoff, is_final, retry_after_seconds
from vespiary.endpoint import Endpoint


class Clock:
    """Time that passes when it is asked to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


REFUSED = ConnectionRefusedError(111, "Connection refused")


def waits(backoff: Backoff, chance: float, count: int = 8) -> list[float]:
    attempts = Attempts(backoff, Clock(), lambda: chance)
    return [attempts.failed(REFUSED) for _ in range(count)]


@pytest.mark.requirement("rfc6455/7.2.3/4")
def test_the_longest_waits_double_up_to_the_cap() -> None:
    assert waits(Backoff(), 1.0) == [5, 10, 20, 40, 60, 60, 60, 60]


def test_the_shortest_waits_are_the_longest_of_the_wait_before() -> None:
    assert waits(Backoff(), 0.0) == [0, 5, 10, 20, 30, 30, 30, 30]


@pytest.mark.requirement("rfc6455/7.2.3/2", "rfc6455/7.2.3/3")
def test_waits_differ_between_clients_that_lost_a_server_together() -> None:
    first = {Attempts(Backoff(), Clock()).failed(REFUSED) for _ in range(50)}
    assert len(first) == 50
    assert all(0 <= seconds <= 5 for seconds in first)


def test_waits_stay_finite_however_many_attempts_fail() -> None:
    attempts = Attempts(Backoff(factor=10.0), Clock(), lambda: 1.0)
    assert max(attempts.failed(REFUSED) for _ in range(2000)) == 60


def test_a_good_connection_makes_waits_begin_anew() -> None:
    clock = Clock()
    attempts = Attempts(Backoff(), clock, lambda: 1.0)
    for _ in range(4):
        attempts.failed(REFUSED)
    attempts.opened()
    clock.now += 61
    assert attempts.ended() == 5
    assert attempts.failed(REFUSED) == 10


def test_a_server_that_accepts_and_drops_is_not_hammered() -> None:
    clock = Clock()
    attempts = Attempts(Backoff(), clock, lambda: 1.0)
    seen = []
    for _ in range(6):
        attempts.opened()
        clock.now += 1
        seen.append(attempts.ended())
    assert seen == [5, 10, 20, 40, 60, 60]


def test_attempts_in_a_row_are_bounded() -> None:
    attempts = Attempts(Backoff(attempts_max=3), Clock(), lambda: 0.5)
    attempts.failed(REFUSED)
    attempts.failed(REFUSED)
    attempts.opened()
    for _ in range(2):
        attempts.failed(REFUSED)
    with pytest.raises(ConnectionRefusedError) as raised:
        attempts.failed(ConnectionRefusedError(111, "Connection refused"))
    assert "after 3 attempts" in raised.value.__notes__[0]


def test_the_budget_counts_from_the_loss_and_bounds_the_wait_too() -> None:
    clock = Clock()
    attempts = Attempts(Backoff(budget_seconds=30), clock, lambda: 1.0)
    attempts.opened()
    clock.now += 1e6
    began = clock.now
    clock.now += attempts.ended()
    clock.now += attempts.failed(REFUSED)
    assert clock.now - began == 5 + 10
    with pytest.raises(ConnectionRefusedError):
        attempts.failed(ConnectionRefusedError(111, "Connection refused"))


def refusal(status: int, **headers: str) -> vespiary.HandshakeRefused:
    lines = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return vespiary.HandshakeRefused(status, "", "", lines)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed_and_spread(status: int) -> None:
    attempts = Attempts(Backoff(first_seconds=4.0), Clock(), lambda: 0.5)
    assert attempts.failed(refusal(status, Retry_After="120")) == 122


def test_retry_after_may_be_a_date() -> None:
    value = email.utils.formatdate(5000, usegmt=True)
    attempts = Attempts(Backoff(), Clock(), lambda: 0.0, lambda: 4970.0)
    assert attempts.failed(refusal(503, Retry_After=value)) == 30


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (refusal(503, Retry_After="7"), 7.0),
        (refusal(503, Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"), 0.0),
        (refusal(503, Retry_After="soon"), None),
        (refusal(503, Retry_After="-7"), None),
        (refusal(503, Retry_After="9" * 400), float("9" * 18)),
        (refusal(503), None),
        (refusal(500, Retry_After="7"), None),
        (REFUSED, None),
    ],
)
def test_retry_after_is_read_with_care(error: Exception, seconds: float | None) -> None:
    assert retry_after_seconds(error, lambda: 1e9) == seconds


def test_a_retry_after_of_years_is_cut() -> None:
    attempts = Attempts(Backoff(), Clock(), lambda: 0.0)
    assert attempts.failed(refusal(429, Retry_After="9" * 12)) == 3600


def test_a_retry_after_beyond_the_budget_gives_up_at_once() -> None:
    attempts = Attempts(Backoff(budget_seconds=60), Clock(), lambda: 0.0)
    with pytest.raises(vespiary.HandshakeRefused):
        attempts.failed(refusal(503, Retry_After="120"))


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (REFUSED, False),
        (TimeoutError(), False),
        (socket.gaierror(-2, "Name or service not known"), False),
        (vespiary.RemoteError(vespiary.CloseReason("remote", "broken")), False),
        *((refusal(status), False) for status in (408, 425, 429, 500, 502, 503, 504)),
        *((refusal(status), True) for status in (101, 200, 302, 400, 401, 403, 404, 410, 426)),
        (vespiary.ProxyRefused(407, "authentication"), True),
        (vespiary.ProxyRefused(502, "bad gateway"), False),
        (vespiary.LocalError(vespiary.CloseReason("local", "broken")), True),
        (vespiary.EndpointError("no URL"), True),
        (RuntimeError("a mistake"), True),
    ],
)
def test_what_may_pass_is_not_final(error: Exception, final: bool) -> None:
    assert is_final(error) is final


def test_a_final_failure_is_reported_at_once() -> None:
    with pytest.raises(vespiary.HandshakeRefused):
        Attempts(Backoff(), Clock()).failed(refusal(404))


def test_what_is_final_can_be_decided_otherwise() -> None:
    backoff = Backoff(is_final=lambda error: isinstance(error, OSError))
    assert Attempts(backoff, Clock()).failed(refusal(404)) <= 5
    with pytest.raises(ConnectionRefusedError):
        Attempts(backoff, Clock()).failed(REFUSED)


@pytest.mark.parametrize(
    "options",
    [
        {"first_seconds": -1.0},
        {"first_seconds": float("nan")},
        {"seconds_max": float("inf")},
        {"factor": 0.5},
        {"attempts_max": 0},
        {"attempts_max": True},
        {"budget_seconds": "long"},
    ],
)
def test_a_backoff_that_cannot_be_is_reported(options: dict[str, float]) -> None:
    (name,) = options
    with pytest.raises(vespiary.ConfigurationError, match=name):
        Backoff(**options)  # type: ignore[arg-type]


def test_no_redirect_leads_out_of_tls() -> None:
    secure = Endpoint("wss", "a.test", 443, target="/")
    for location in ("ws://a.test/", "http://b.test/"):
        answer = vespiary.HandshakeRefused(302, "", "", (("Location", location),))
        with pytest.raises(vespiary.RedirectRefused, match="from TLS"):
            next_target(Target(secure), answer, (), 5)


def test_families_alternate_and_repeats_are_left_out() -> None:
    six, four = socket.AF_INET6, socket.AF_INET
    found: list[tuple[int, Address]] = [
        (six, ("::1", 1)),
        (six, ("::2", 1)),
        (six, ("::1", 1)),
        (four, ("127.0.0.1", 1)),
        (six, ("::3", 1)),
    ]
    assert interleaved(found) == [("::1", 1), ("127.0.0.1", 1), ("::2", 1), ("::3", 1)]


class Attempt:
    """A connection of a race, without a network."""

    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


class Track:
    """A race over addresses that do what a test says, in a loop whose time a test moves."""

    def __init__(self, count: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.now = 0.0
        self.loop.time = lambda: self.now  # type: ignore[method-assign]
        self.attempts: list[Attempt] = []
        addresses: list[Address] = [(f"10.0.0.{number}", 1) for number in range(count)]
        self.race: Race[Attempt] = Race(self.loop, addresses, self.start)
        self.task = self.loop.create_task(self.race.run())
        self.turn()

    def start(self, _address: Address, _number: int) -> Attempt:
        self.attempts.append(Attempt())
        return self.attempts[-1]

    def turn(self, seconds: float = 0.0) -> None:
        self.now += seconds
        for _ in range(3):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def close(self) -> None:
        self.task.cancel()
        self.turn()
        self.loop.close()


def test_a_dead_address_costs_a_quarter_of_a_second() -> None:
    track = Track(3)
    assert len(track.attempts) == 1
    track.turn(0.24)
    assert len(track.attempts) == 1
    track.turn(0.02)
    assert len(track.attempts) == 2
    track.race.connected(1)
    assert track.attempts[0].aborted
    track.race.opened(1, track.attempts[1])
    track.turn(1.0)
    assert track.task.result() is track.attempts[1]
    assert len(track.attempts) == 2
    track.close()


def test_a_failed_address_makes_way_at_once() -> None:
    track = Track(3)
    track.race.failed(0, ConnectionRefusedError(111, "refused"))
    assert len(track.attempts) == 2
    track.close()


def test_only_the_winner_continues_to_its_handshake() -> None:
    track = Track(2)
    track.turn(0.3)
    track.race.connected(0)
    track.race.connected(1)
    assert [attempt.aborted for attempt in track.attempts] == [False, True]
    track.race.opened(0, track.attempts[0])
    track.turn()
    assert track.task.result() is track.attempts[0]
    track.close()


def test_a_handshake_that_fails_is_not_tried_elsewhere() -> None:
    track = Track(2)
    track.race.connected(0)
    track.race.failed(0, refusal(403))
    track.turn(1.0)
    assert len(track.attempts) == 1
    assert isinstance(track.task.exception(), vespiary.HandshakeRefused)
    track.close()


def test_when_all_fail_the_first_reports_the_others() -> None:
    track = Track(2)
    track.race.failed(0, ConnectionRefusedError(111, "refused"))
    track.race.failed(1, OSError(113, "no route"))
    track.turn()
    error = track.task.exception()
    assert isinstance(error, ConnectionRefusedError)
    assert [note.partition(":")[0] for note in error.__notes__] == ["10.0.0.0", "10.0.0.1"]
    track.close()


def test_a_cancelled_race_leaves_nobody_running() -> None:
    track = Track(3)
    track.turn(0.3)
    track.task.cancel()
    track.turn(1.0)
    assert [attempt.aborted for attempt in track.attempts] == [True, True]
    track.close()


def test_random_races_end_once_and_leave_nobody_running() -> None:
    for seed in range(300):
        chance = random.Random(seed)
        track = Track(chance.randrange(1, 5))
        for _ in range(40):
            if track.task.done():
                break
            number = chance.randrange(len(track.attempts))
            attempt = track.attempts[number]
            step = chance.randrange(4)
            if step == 0:
                track.turn(chance.random())
            elif step == 1 and not attempt.aborted:
                track.race.connected(number)
            elif step == 2 and not attempt.aborted:
                track.race.opened(number, attempt)
            elif step == 3:
                track.race.failed(number, OSError(113, "no route"))
            track.turn()
        track.task.cancel()
        track.turn()
        assert track.task.done(), f"seed {seed}"
        came_through = not track.task.cancelled() and track.task.exception() is None
        winner = track.task.result() if came_through else None
        assert winner is None or not winner.aborted, f"seed {seed}"
        track.close()


@pytest.mark.parametrize(
    ("url", "bare", "credentials"),
    [
        ("ws://a:b@h:1/x", "ws://h:1/x", "a:b"),
        ("ws://a@h/", "ws://h/", "a:"),
        ("ws://a:b:c@h/", "ws://h/", "a:b:c"),
        ("ws://%C3%BC:p%40ss%2F@h/", "ws://h/", "ü:p@ss/"),
        ("ws://a:b@c@h/", "ws://h/", "a:b@c"),
        ("ws://h/a:b@c", "ws://h/a:b@c", None),
        ("ws://h?a:b@c", "ws://h?a:b@c", None),
        ("tcp://a:b@h:1", "tcp://a:b@h:1", None),
    ],
)
def test_user_and_password_are_taken_out_of_the_url(
    url: str, bare: str, credentials: str | None
) -> None:
    found, authorization = without_credentials(url)
    assert found == bare
    if credentials is None:
        assert authorization is None
    else:
        encoded = base64.b64encode(credentials.encode()).decode()
        assert authorization == f"Basic {encoded}"


@pytest.mark.parametrize("url", ["ws://a%3Ab:secret@h/", "ws://a:secret%0D%0A@h/"])
def test_credentials_that_cannot_be_sent_are_reported_without_being_shown(url: str) -> None:
    with pytest.raises(vespiary.EndpointError) as raised:
        without_credentials(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ws://a.test", "a.test"),
        ("ws://a.test:80/x", "a.test"),
        ("ws://a.test:8080/x", "a.test:8080"),
        ("ws://[::1]/", "[::1]"),
        ("ws://[::1]:9001/", "[::1]:9001"),
        ("ws://[fe80::1%25eth0]:9001/", "[fe80::1]:9001"),
    ],
)
def test_the_host_header_has_the_port_unless_it_is_the_schemes_own(url: str, host: str) -> None:
    assert Endpoint.parse(url).host_header == host
