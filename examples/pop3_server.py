"""A POP3 server (RFC 1939) with mailboxes in memory: a text protocol with states.

It supports USER and PASS, STAT, LIST, RETR, TOP, UIDL, DELE, RSET, NOOP, QUIT, and CAPA (RFC 2449).
As the RFC requires, messages are deleted only when a session ends with QUIT, only one session at a
time can use a mailbox, and a dot at the start of a line is doubled. The answer to a wrong password
is delayed with a timer. The third wrong password ends the connection.

Run:   .venv/bin/python examples/pop3_server.py [URL...]        (default tcp://127.0.0.1:1110)
Talk:  nc -C 127.0.0.1 1110        and USER ann, PASS wasp, LIST, RETR 1, QUIT
       or any mail program: server 127.0.0.1, port 1110, no TLS, user ann, password wasp
"""

import hashlib
import hmac
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import vespiary

LIMITS = vespiary.Limits(message_bytes_max=255)  # RFC 2449 section 4: a command's line.
DEADLINES = vespiary.Deadlines(idle_seconds=600)  # RFC 1939 section 3: ten minutes at least.
FAILURES_MAX = 3
FAILURE_SECONDS = 0.5

Reply = tuple[str, list[bytes] | None]
"""What follows `+OK`, and the lines of a reply that has more than one."""


class Refused(Exception):
    """The command gets `-ERR` with this text."""


@dataclass(frozen=True)
class Mail:
    """A message as it was received, its lines without their endings."""

    lines: tuple[bytes, ...]

    @property
    def octets(self) -> int:
        """Return its size by RFC 1939 section 11: with CR LF line ends, without doubled dots."""
        return sum(len(line) + 2 for line in self.lines)

    @property
    def uid(self) -> str:
        """Return the permanent name of the message (section 7, UIDL)."""
        return hashlib.sha256(b"\n".join(self.lines)).hexdigest()[:20]

    def top(self, body_lines: int) -> list[bytes]:
        """The header, the empty line, and the first lines of the body."""
        header_end = self.lines.index(b"") + 1 if b"" in self.lines else len(self.lines)
        return list(self.lines[: header_end + body_lines])


@dataclass
class Mailbox:
    """The mail of a user, and whether a session uses it."""

    password: str
    mails: list[Mail]
    is_held: bool = False


@dataclass
class Session:
    """The state of a connection: AUTHORIZATION until it has a mailbox, then TRANSACTION."""

    mailboxes: dict[str, Mailbox]
    user: str | None = None
    mailbox: Mailbox | None = None
    mails: list[Mail] = field(default_factory=list)
    deleted: set[int] = field(default_factory=set)
    failures: int = 0

    # AUTHORIZATION (RFC 1939 section 4)

    def name(self, argument: str) -> Reply:
        """USER: accept any name, so that a client cannot find out which names exist."""
        self.user = argument
        return "now the password", None

    def password(self, argument: str) -> Reply:
        """PASS: open the mailbox. The password may contain spaces (section 7)."""
        name, self.user = self.user, None
        if name is None:
            raise Refused("USER comes first")
        mailbox = self.mailboxes.get(name)
        expected = mailbox.password if mailbox is not None else ""
        matches = hmac.compare_digest(expected.encode(), argument.encode())
        if mailbox is None or not matches:
            self.failures += 1
            raise Refused("[AUTH] wrong name or password")
        if mailbox.is_held:
            raise Refused("[IN-USE] another session holds this mailbox")
        mailbox.is_held = True
        self.mailbox, self.mails = mailbox, list(mailbox.mails)
        return f"{len(self.mails)} messages", None

    # TRANSACTION (section 5)

    def status(self, _: str) -> Reply:
        """STAT: the number of messages, and their size in octets."""
        left = [self.mails[number - 1].octets for number in self._numbers()]
        return f"{len(left)} {sum(left)}", None

    def sizes(self, argument: str) -> Reply:
        """LIST: number and octets, of one message or of all."""
        return self._scan(argument, lambda mail: str(mail.octets))

    def uids(self, argument: str) -> Reply:
        """UIDL: number and unique name, of one message or of all."""
        return self._scan(argument, lambda mail: mail.uid)

    def retrieve(self, argument: str) -> Reply:
        """RETR: a whole message."""
        mail = self._mail(argument)
        return f"{mail.octets} octets", list(mail.lines)

    def top(self, argument: str) -> Reply:
        """TOP: the header and some lines of the body."""
        number, _, count = argument.partition(" ")
        if not count.isdecimal():
            raise Refused("TOP takes a message and a number of lines")
        return "the top of it follows", self._mail(number).top(int(count))

    def delete(self, argument: str) -> Reply:
        """DELE: mark a message; QUIT removes it."""
        self._mail(argument)
        self.deleted.add(int(argument))
        return f"message {int(argument)} is marked as deleted", None

    def reset(self, _: str) -> Reply:
        """RSET: remove all marks."""
        self.deleted.clear()
        return f"{len(self.mails)} messages", None

    def nothing(self, _: str) -> Reply:
        """NOOP."""
        return "", None

    # Either

    def capabilities(self, _: str) -> Reply:
        """CAPA (RFC 2449)."""
        return "I can", [b"USER", b"TOP", b"UIDL", b"RESP-CODES", b"PIPELINING", b"EXPIRE NEVER"]

    def quit(self, _: str) -> Reply:
        """QUIT: delete the marked messages (section 6, the UPDATE state), and end the session."""
        if self.mailbox is not None:
            removed = {self.mails[number - 1] for number in self.deleted}
            self.mailbox.mails = [mail for mail in self.mailbox.mails if mail not in removed]
        self.release()
        return "goodbye", None

    def release(self) -> None:
        """Release the mailbox, and change nothing in it."""
        if self.mailbox is not None:
            self.mailbox.is_held = False
            self.mailbox = None

    def _numbers(self) -> list[int]:
        every = range(1, len(self.mails) + 1)
        return [number for number in every if number not in self.deleted]

    def _mail(self, argument: str) -> Mail:
        if not argument.isdecimal() or int(argument) not in self._numbers():
            raise Refused("no such message")
        return self.mails[int(argument) - 1]

    def _scan(self, argument: str, fact: Callable[[Mail], str]) -> Reply:
        if argument:
            found = self._mail(argument)
            return f"{int(argument)} {fact(found)}", None
        numbers = self._numbers()
        lines = [f"{number} {fact(self.mails[number - 1])}".encode() for number in numbers]
        return f"{len(numbers)} messages", lines


Command = Callable[[Session, str], Reply]
EITHER: dict[str, Command] = {"CAPA": Session.capabilities, "QUIT": Session.quit}
AUTHORIZATION: dict[str, Command] = {**EITHER, "USER": Session.name, "PASS": Session.password}
TRANSACTION: dict[str, Command] = {
    **EITHER,
    "STAT": Session.status,
    "LIST": Session.sizes,
    "UIDL": Session.uids,
    "RETR": Session.retrieve,
    "TOP": Session.top,
    "DELE": Session.delete,
    "RSET": Session.reset,
    "NOOP": Session.nothing,
}


class Pop3(vespiary.Handler):
    """Answers lines. The session has the state."""

    def __init__(self, mailboxes: dict[str, Mailbox]) -> None:
        self.mailboxes = mailboxes

    def on_open(self, connection: vespiary.Connection) -> None:
        """Greet."""
        connection.data = Session(self.mailboxes)
        connection.send("+OK the example POP3 server is ready")

    def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
        """Answer a command."""
        session: Session = connection.data
        keyword, _, argument = message.decode("ascii", "replace").partition(" ")
        commands = AUTHORIZATION if session.mailbox is None else TRANSACTION
        command = commands.get(keyword.upper())
        failures = session.failures
        try:
            if command is None:
                raise Refused("no such command in this state")
            text, lines = command(session, argument)
        except Refused as refusal:
            answer = f"-ERR {refusal}"
            if session.failures > failures:
                connection.pause_reading()
                connection.set_timer(FAILURE_SECONDS, lambda it: self.refuse_late(it, answer))
            else:
                connection.send(answer)
            return
        connection.send(f"+OK {text}".rstrip())
        if lines is not None:
            # RFC 1939 section 3: a line that begins with a dot gets another, one dot ends it all.
            stuffed = [b"." + line if line.startswith(b".") else line for line in lines]
            for line in [*stuffed, b"."]:
                connection.send(line)
        if command is Session.quit:
            connection.close()

    def refuse_late(self, connection: vespiary.Connection, answer: str) -> None:
        """Answer a wrong password after a delay. During the delay, nothing is read."""
        connection.send(answer)
        connection.resume_reading()
        if connection.data.failures >= FAILURES_MAX:
            connection.close()

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        """End the session. Without QUIT, no message is deleted."""
        connection.data.release()


def mail(subject: str, body: str) -> Mail:
    """Return a first message."""
    header = f"From: Vespiary <nest@example.org>\nTo: you@example.org\nSubject: {subject}\n"
    text = f"{header}Content-Type: text/plain; charset=utf-8\n\n{body}"
    return Mail(tuple(text.encode().split(b"\n")))


MAILBOXES = {
    "ann": Mailbox(
        "wasp",
        [
            mail("Welcome", "This mailbox lives in memory.\nIt forgets everything when it stops."),
            mail("Dots", ".begins with a dot\n..with two\n.\nand goes on after a lone one"),
            mail("Übergröße", "Naïve façade, 蜂の巣.\n" + "A line among many.\n" * 2000),
        ],
    ),
    "bob": Mailbox("nest", []),
}

if __name__ == "__main__":
    vespiary.serve(
        Pop3(MAILBOXES),
        *(sys.argv[1:] or ["tcp://127.0.0.1:1110"]),
        framing="crlf",
        limits=LIMITS,
        deadlines=DEADLINES,
    )
