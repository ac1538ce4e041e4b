"""A client that asks for another TLS handshake: TLS 1.2 has that, and nobody needs it any more."""

import asyncio
import shutil
from pathlib import Path

import pytest

from vespiary import ServerTLS

from .kit import Recorder, serving, until


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
async def test_a_client_that_renegotiates_is_refused_with_a_text_that_says_so(
    tls: ServerTLS, tmp_path: Path
) -> None:
    recorder = Recorder()
    async with serving(recorder, "tls://127.0.0.1:0", tls=tls) as server:
        where = server.urls[0].removeprefix("tls://")
        arguments = ["s_client", "-connect", where, "-tls1_2", "-legacy_renegotiation"]
        client = await asyncio.create_subprocess_exec(
            "openssl", *arguments, stdin=-1, stdout=-3, stderr=-3, cwd=tmp_path
        )
        assert client.stdin is not None
        await until(lambda: recorder.connections)
        client.stdin.write(b"R\n")
        await until(lambda: recorder.reasons)
        client.stdin.close()
        await client.wait()
    assert "this end does not renegotiate" in str(recorder.reasons[0])
