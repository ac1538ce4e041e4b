"""The SMTP example, used by Python's smtplib and by hand."""

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from vespiary._core import make_authority, make_certificate

from .conftest import Example, Start

pytestmark = pytest.mark.acceptance


@pytest.fixture
def example(start: Start, tmp_path: Path) -> Example:
    authority, key = make_authority()
    (tmp_path / "ca.pem").write_text(authority)
    pair = make_certificate(key, ["localhost", "127.0.0.1"], 30)
    for name, text in zip(("localhost.pem", "localhost-key.pem"), pair, strict=True):
        (tmp_path / name).write_text(text)
    files = [str(tmp_path / name) for name in ("localhost.pem", "localhost-key.pem")]
    return start("smtp_server.py", "tcp://127.0.0.1:0", *files)


@pytest.fixture
def client(example: Example) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP(*example.address, timeout=20) as client:
        yield client


def context(tmp_path: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=tmp_path / "ca.pem")


def test_smtplib_sends_a_mail_behind_starttls(
    example: Example, client: smtplib.SMTP, tmp_path: Path
) -> None:
    client.ehlo()
    assert client.has_extn("starttls")
    assert client.starttls(context=context(tmp_path))[0] == 220
    client.ehlo()
    assert not client.has_extn("starttls")
    text = "Subject: dots\r\n\r\n.one\r\n..two\r\n" + "A line among many.\r\n" * 5000
    assert client.sendmail("ann@example.org", ["bob@example.org", "you@example.org"], text) == {}
    client.quit()
    example.wait_for("ann@example.org to bob@example.org, you@example.org: ")


def test_nothing_is_sent_without_tls(client: smtplib.SMTP) -> None:
    with pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS comes first"):
        client.sendmail("ann@example.org", ["bob@example.org"], "Subject: plain\r\n\r\nno")


def test_commands_that_were_injected_behind_starttls_are_not_executed(example: Example) -> None:
    with socket.create_connection(example.address, 20) as client, client.makefile("rb") as lines:
        lines.readline()
        client.sendall(b"STARTTLS\r\nMAIL FROM:<eve@example.org>\r\nRCPT TO:<you@example.org>\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert lines.read() in (b"", b"220 go ahead\r\n")
