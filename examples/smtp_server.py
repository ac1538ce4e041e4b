"""A mail server for development (SMTP, RFC 5321) with STARTTLS (RFC 3207): it logs each mail.

A connection begins without TLS. After `STARTTLS`, the server discards everything that the client
has sent before (section 4.2). If a client, or an attacker on the network, sends unencrypted bytes
after `STARTTLS`, the connection ends. Otherwise these bytes would be treated as encrypted.

Run:   .venv/bin/vespiary cert        (once: makes localhost.pem and vespiary-ca.pem here)
       .venv/bin/python examples/smtp_server.py [URL [CERTIFICATE [KEY]]]
       (default tcp://127.0.0.1:1025 localhost.pem localhost-key.pem)
Talk:  openssl s_client -starttls smtp -connect 127.0.0.1:1025 -CAfile vespiary-ca.pem -crlf
"""

import logging
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import vespiary

LIMITS = vespiary.Limits(message_bytes_max=1000)  # RFC 5321 section 4.5.3.1.6: a line of text.
DEADLINES = vespiary.Deadlines(idle_seconds=300)  # Section 4.5.3.2.7: five minutes at least.
MAIL_BYTES_MAX = 1 << 20

ADDRESS = re.compile(r"(?:FROM|TO):\s*<([^<>\s]*)>", re.IGNORECASE)


@dataclass
class Session:
    """The mail that a client is sending."""

    greeted: str | None = None
    sender: str | None = None
    recipients: list[str] = field(default_factory=list)
    lines: list[bytes] | None = None
    size: int = 0

    def begin_again(self) -> None:
        """Discard the mail, but keep the client's name."""
        self.sender, self.recipients, self.lines, self.size = None, [], None, 0


class Smtp(vespiary.Handler[bytes]):
    """Answers commands and receives mails, line by line."""

    def __init__(self, tls: vespiary.ServerTLS) -> None:
        self.tls = tls
        self.commands: dict[str, Callable[[vespiary.Connection[bytes], str], str]] = {
            "EHLO": self.hello,
            "HELO": self.hello,
            "STARTTLS": self.start_tls,
            "MAIL": self.sender,
            "RCPT": self.recipient,
            "DATA": self.data,
            "RSET": self.reset,
            "NOOP": self.nothing,
            "QUIT": self.goodbye,
        }

    def on_open(self, connection: vespiary.Connection[bytes]) -> None:
        """Greet."""
        connection.data = Session()
        connection.send("220 the example SMTP server is ready")

    def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
        """A command, or a line of a mail."""
        if connection.data.lines is not None:
            self.mail_line(connection, message)
            return
        keyword, _, argument = message.decode("ascii", "replace").partition(" ")
        command = self.commands.get(keyword.upper())
        if command is None:
            connection.send("502 no such command")
            return
        for line in command(connection, argument).splitlines():
            connection.send(line)
        if command == self.start_tls and connection.tls is None:
            connection.start_tls(self.tls)
        elif keyword.upper() == "QUIT":
            connection.close()

    def hello(self, connection: vespiary.Connection[bytes], argument: str) -> str:
        """EHLO: list the extensions. STARTTLS is listed until TLS is used."""
        connection.data = Session(greeted=argument)
        extensions = [f"SIZE {MAIL_BYTES_MAX}"]
        if connection.tls is None:
            extensions.append("STARTTLS")
        lines = ["welcome", *extensions]
        return "\n".join(f"250-{line}" for line in lines[:-1]) + f"\n250 {lines[-1]}"

    def start_tls(self, connection: vespiary.Connection[bytes], _: str) -> str:
        """STARTTLS: send the last unencrypted answer, and start TLS."""
        if connection.tls is not None:
            return "503 this connection uses TLS already"
        # RFC 3207 section 4.2: what was said before may have been changed on the way.
        connection.data = Session()
        return "220 go ahead"

    def sender(self, connection: vespiary.Connection[bytes], argument: str) -> str:
        """MAIL FROM."""
        found = ADDRESS.match(argument)
        if connection.tls is None:
            return "530 STARTTLS comes first"
        if found is None or connection.data.greeted is None:
            return "503 EHLO comes first, and then MAIL FROM:<address>"
        connection.data.begin_again()
        connection.data.sender = found[1]
        return "250 OK"

    def recipient(self, connection: vespiary.Connection[bytes], argument: str) -> str:
        """RCPT TO."""
        found = ADDRESS.match(argument)
        if found is None or connection.data.sender is None:
            return "503 MAIL comes first, and then RCPT TO:<address>"
        if len(connection.data.recipients) == 100:
            return "452 too many recipients"
        connection.data.recipients.append(found[1])
        return "250 OK"

    def data(self, connection: vespiary.Connection[bytes], _: str) -> str:
        """DATA: the mail follows."""
        if not connection.data.recipients:
            return "503 RCPT comes first"
        connection.data.lines = []
        return "354 end with a line that has only a dot"

    def nothing(self, _: vespiary.Connection[bytes], __: str) -> str:
        """NOOP."""
        return "250 OK"

    def goodbye(self, _: vespiary.Connection[bytes], __: str) -> str:
        """QUIT."""
        return "221 goodbye"

    def reset(self, connection: vespiary.Connection[bytes], _: str) -> str:
        """RSET."""
        connection.data.begin_again()
        return "250 OK"

    def mail_line(self, connection: vespiary.Connection[bytes], line: bytes) -> None:
        """Add a line of a mail.

        A single dot ends the mail, and a doubled dot is a dot (section 4.5.2).
        """
        session: Session = connection.data
        if line != b".":
            session.size += len(line) + 2
            if session.size <= MAIL_BYTES_MAX and session.lines is not None:
                session.lines.append(line.removeprefix(b"."))
            return
        if session.size > MAIL_BYTES_MAX:
            connection.send("552 the mail is too large")
        else:
            recipients = ", ".join(session.recipients)
            logging.info("%s to %s: %d bytes", session.sender, recipients, session.size)
            connection.send("250 OK")
        session.begin_again()


if __name__ == "__main__":
    defaults = ["tcp://127.0.0.1:1025", "localhost.pem", "localhost-key.pem"]
    url, certificate, key = [*sys.argv[1:], *defaults[len(sys.argv) - 1 :]]
    handler = Smtp(vespiary.ServerTLS(certificate, key))
    vespiary.serve(handler, url, framing="crlf", limits=LIMITS, deadlines=DEADLINES)
