"""Certificates whose files change while servers run, or that SIGHUP reads again."""

import asyncio
import logging
import os
import signal
import ssl
from pathlib import Path

import pytest

import vespiary
from tests.logs import records
from vespiary import ServerTLS

from .certificates import Certificates
from .kit import TCP, Echo, Recorder, serving, until

pytestmark = pytest.mark.filterwarnings("ignore:ssl.*deprecated:DeprecationWarning")


async def served(server: vespiary.Server) -> bytes:
    """The certificate that a new client is shown."""
    endpoint = vespiary.Endpoint.parse(server.urls[0])
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=context)
    found: ssl.SSLObject = writer.get_extra_info("ssl_object")
    shown = found.getpeercert(binary_form=True)
    writer.close()
    assert shown is not None
    return shown


def replace(file: Path, content: bytes) -> None:
    """As ACME clients do it: another file takes the name."""
    other = file.with_suffix(".new")
    other.write_bytes(content)
    other.replace(file)


@pytest.fixture
def files(certificates: Certificates) -> tuple[Path, Path]:
    return certificates.make("localhost", "127.0.0.1")


async def test_files_that_change_are_served_soon(
    certificates: Certificates, files: tuple[Path, Path]
) -> None:
    tls = ServerTLS(*files, watch_seconds=0.01)
    async with serving(Echo, "tls://127.0.0.1:0", tls=tls) as server:
        first = await served(server)
        certificates.make("localhost", "127.0.0.1")
        deadline = asyncio.get_running_loop().time() + 20
        while await served(server) == first:
            assert asyncio.get_running_loop().time() < deadline
        assert await served(server) != first


async def test_the_old_certificate_stays_while_the_new_one_is_not_valid(
    certificates: Certificates, files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vespiary")
    tls = ServerTLS(*files, watch_seconds=0.01)

    def errors() -> list[str]:
        return [one.getMessage() for one in records(caplog) if one.levelname == "ERROR"]

    async with serving(Echo, "tls://127.0.0.1:0", tls=tls) as server:
        first = await served(server)
        key = files[1].read_bytes()
        replace(files[1], b"not a key")
        await until(lambda: len(errors()) == 1)
        assert "stays in use: key " in errors()[0]
        assert await served(server) == first
        files[1].unlink()
        await until(lambda: len(errors()) == 2)
        assert await served(server) == first
        replace(files[1], key)
        await until(lambda: "Read the certificate of" in caplog.text)
        assert await served(server) == first
        assert len(errors()) == 2


async def test_files_are_left_alone_until_they_stay_as_they_are(files: tuple[Path, Path]) -> None:
    tls = ServerTLS(*files)
    asked: list[None] = []
    tls.reload = lambda: asked.append(None)  # type: ignore[method-assign] # Counts.
    tls.look()
    replace(files[0], b"half of it")
    tls.look()
    replace(files[0], b"all of it, and so longer")
    tls.look()
    assert asked == []
    tls.look()
    assert len(asked) == 1


async def test_sighup_reads_the_files_again(
    certificates: Certificates, files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vespiary")
    tls = ServerTLS(*files, watch_seconds=None)
    before = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        async with serving(Echo, "tls://127.0.0.1:0", tls=tls) as server:
            first = await served(server)
            certificates.make("localhost", "127.0.0.1")
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: "again: SIGHUP" in caplog.text)
            assert await served(server) != first
            replace(files[0], b"not a certificate")
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: "stays in use: certificate " in caplog.text)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
async def test_sighup_of_the_program_is_left_alone(tls: ServerTLS, handler: object) -> None:
    before = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, handler)  # type: ignore[arg-type] # Either kind of handler.
    try:
        async with serving(Echo, "tls://127.0.0.1:0", tls=tls):
            assert signal.getsignal(signal.SIGHUP) is handler
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_a_server_without_tls_leaves_sighup_alone() -> None:
    before = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        async with serving(Recorder, TCP):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("seconds", [0, -1, "1", float("nan"), True])
def test_the_interval_is_checked(files: tuple[Path, Path], seconds: object) -> None:
    with pytest.raises(vespiary.ConfigurationError, match="watch_seconds"):
        ServerTLS(*files, watch_seconds=seconds)  # type: ignore[arg-type] # That is the mistake.


async def test_a_pipe_in_the_place_of_a_certificate_does_not_block_the_server(
    files: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(files[0].read_bytes())
    tls = ServerTLS(certificate, files[1], watch_seconds=None)
    async with serving(Echo, "tls://127.0.0.1:0", tls=tls) as server:
        first = await served(server)
        certificate.unlink()
        os.mkfifo(certificate)
        # The first look sees a change, and the second one that it is over.
        tls.look()
        tls.look()
        assert "is not a regular file" in caplog.text
        with pytest.raises(vespiary.ConfigurationError, match="is not a regular file"):
            tls.reload()
        assert await served(server) == first
