"""Says a case's bytes to a server and judges what comes back.

Nothing is waited for by the clock: that a connection is kept shows in the answer to one more
request, that it is a WebSocket in the pong to a ping, and that it is closed in its end. Only a
server that does nothing of this runs into the time limit.
"""

import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.conformance.handshake.case import Case

__all__ = ["Pace", "exchange", "judge", "judge_strictly"]

SECONDS = 4.0
_PROBE = b"GET /page HTTP/1.1\r\nHost: probe.example.com\r\n\r\n"
_PING = bytes.fromhex("8984 00000000") + b"ping"
_PONG = bytes.fromhex("8a04") + b"ping"
_HTTP_DATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4}"
    r" \d\d:\d\d:\d\d GMT"
)

Pace = Sequence[tuple[int, float]]
"""How the bytes are cut: how many at once, and seconds before them; the last goes on for ever."""


@dataclass(slots=True)
class Answer:
    """One answer as it came."""

    status: int
    lines: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        """The values of a field, by its name in small letters."""
        return [value for other, value in self.lines if other == name]

    def tokens(self, name: str) -> list[str]:
        """The elements of a field that is a list."""
        joined = ",".join(self.values(name))
        return [token for part in joined.split(",") if (token := part.strip().lower())]


@dataclass(slots=True)
class Outcome:
    """All that came: the answers, and what followed the last one."""

    answers: list[Answer]
    after: str


class _Wire:
    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.kept = b""
        self.ended = False

    def send(self, data: bytes, pace: Pace) -> None:
        try:
            for piece, pause in _pieces(data, pace):
                time.sleep(pause)
                self.socket.sendall(piece)
        except (ConnectionResetError, BrokenPipeError):
            pass

    def more(self) -> bool:
        """Read on; whether something came."""
        if self.ended:
            return False
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self.ended = not data
        self.kept += data
        return bool(data)

    def take(self, count: int) -> bytes:
        while len(self.kept) < count and self.more():
            pass
        data, self.kept = self.kept[:count], self.kept[count:]
        return data

    def answer(self, without_body: bool) -> Answer | None:
        """The next answer; None at the end."""
        while b"\r\n\r\n" not in self.kept:
            if not self.more():
                return None
        head, _, self.kept = self.kept.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.[01] (\d{3}) ?.*", first)
        assert match, f"no status line: {first!r}"
        answer = Answer(int(match[1]))
        for line in lines:
            name, colon, value = line.partition(":")
            assert re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), line
            assert colon, line
            answer.lines.append((name.lower(), value.strip()))
        if not (without_body or answer.status < 200 or answer.status in (204, 304)):
            lengths = answer.values("content-length")
            assert len(lengths) == 1, f"an answer without one length: {answer.lines}"
            answer.body = self.take(int(lengths[0]))
        return answer


def _pieces(data: bytes, pace: Pace) -> list[tuple[bytes, float]]:
    pieces = []
    steps = list(pace)
    while data:
        size, pause = steps.pop(0) if len(steps) > 1 else steps[0]
        pieces.append((data[:size], pause))
        data = data[size:]
    return pieces


def exchange(case: Case, address: tuple[str, int], pace: Pace = ((1 << 20, 0.0),)) -> Outcome:
    """Say it and listen."""
    wire = _Wire(address)
    with wire.socket:
        wire.send(case.sent, pace)
        answers: list[Answer] = []
        try:
            while len(answers) < len(case.answers):
                answer = wire.answer(case.heads)
                if answer is None:
                    return Outcome(answers, "closed")
                if answer.status == 100 and case.answers[len(answers)] != 100:
                    # Any client may be asked to go on.
                    continue
                answers.append(answer)
                if answer.status >= 400 or "close" in answer.tokens("connection"):
                    break
            return Outcome(answers, _after(wire, answers[-1]))
        except TimeoutError:
            return Outcome(answers, "silent")


def _after(wire: _Wire, last: Answer) -> str:
    """What follows the last answer."""
    if last.status == 101:
        wire.send(_PING, ((1 << 10, 0.0),))
        while _PONG not in wire.kept:
            if not wire.more():
                return "closed"
        return "open"
    wire.send(_PROBE, ((1 << 10, 0.0),))
    try:
        follows = wire.answer(without_body=False)
    except AssertionError:
        return "garbage"
    return "closed" if follows is None else "kept"


def judge(case: Case, outcome: Outcome) -> str | None:
    """What a server did that the specifications do not ask for; None if nothing."""
    statuses = [answer.status for answer in outcome.answers]
    wanted = list(case.answers)
    last_allowed = {wanted[-1], *case.allowed}
    if 0 < len(statuses) < len(wanted) and statuses == wanted[: len(statuses)]:
        # Who says that it closes need not answer what was sent ahead.
        if outcome.after == "closed" and "close" in outcome.answers[-1].tokens("connection"):
            return None
        return f"{len(statuses)} answers instead of {len(wanted)}"
    if statuses[:-1] != wanted[:-1] or not statuses or statuses[-1] not in last_allowed:
        told = ", ".join(map(str, statuses)) or f"no answer ({outcome.after})"
        right = ", ".join(map(str, [*wanted[:-1], "/".join(map(str, sorted(last_allowed)))]))
        return f"{told} instead of {right}"
    last = outcome.answers[-1]
    if last.status != wanted[-1]:
        return None if outcome.after != "silent" else "silence behind the answer"
    return _judge_fields(case, last) or _judge_after(case, outcome)


def _judge_fields(case: Case, last: Answer) -> str | None:
    for name, pattern in case.headers.items():
        value = ", ".join(last.values(name))
        if not re.fullmatch(pattern, value):
            return f"{name} is {value!r}"
    for name in case.absent:
        if last.values(name):
            return f"{name} is there: {last.values(name)[0]!r}"
    if 200 <= last.status < 500 and not any(map(_HTTP_DATE.fullmatch, last.values("date"))):
        return "no Date"
    return None


def _judge_after(case: Case, outcome: Outcome) -> str | None:
    says_close = "close" in outcome.answers[-1].tokens("connection")
    if case.after == outcome.after or (outcome.after == "closed" and says_close):
        return None
    if case.after == "closed" and outcome.after == "kept" and not says_close:
        # A refused or old request need not be the last, if the server knows where it ends.
        return None if not case.headers.get("connection") else "the connection is kept"
    return f"the connection is {outcome.after} instead of {case.after}"


def judge_strictly(case: Case, outcome: Outcome) -> str | None:
    """The same for this project's own server, which chose one answer, and tells reasons."""
    statuses = tuple(answer.status for answer in outcome.answers)
    if statuses != case.answers:
        return f"{statuses} instead of {case.answers} (then {outcome.after})"
    if case.after != outcome.after:
        return f"the connection is {outcome.after} instead of {case.after}"
    last = outcome.answers[-1]
    if last.status >= 400:
        if not re.match(r"text/plain\b", ", ".join(last.values("content-type"))):
            return "a refusal that is not plain text"
        if not case.heads and len(last.body.strip()) < 10:
            return f"a refusal without a reason: {last.body!r}"
    return judge(case, outcome)
