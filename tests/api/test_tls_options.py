"""The options of TLS: files that are not what they should be, and URLs that do not fit."""

from pathlib import Path
from typing import Any

import pytest

import vespiary
from vespiary import ClientTLS, ServerTLS

from .certificates import Certificates
from .kit import Echo


def test_mistakes_in_files_name_the_file(certificates: Certificates, tmp_path: Path) -> None:
    certificate, key = certificates.make("localhost")
    _, other_key = certificates.make("other")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n")
    for given, text in [
        ((certificate, other_key), "not the key of that certificate"),
        ((certificate, empty), "no private key in it"),
        ((empty, key), "no certificate in it"),
        ((certificate, encrypted), "passphrase"),
        ((certificate,), "no private key in it"),
    ]:
        with pytest.raises(vespiary.ConfigurationError, match=text) as caught:
            ServerTLS(*given)
        assert str(tmp_path) in str(caught.value) or str(certificates.folder) in str(caught.value)
    with pytest.raises(FileNotFoundError):
        ServerTLS(tmp_path / "missing.pem")
    with pytest.raises(vespiary.ConfigurationError, match="ca"):
        ClientTLS(ca=empty)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"client_certificate": "maybe"}, "'required' or 'optional'"),
        ({"client_certificate": "optional"}, "with client_ca= only"),
        ({"more": 5}, "list of pairs"),
        ({"more": [5]}, "list of pairs"),
        ({"more": [("a.pem",)]}, "list of pairs"),
        ({"more": [("a.pem", 5)]}, "path of a PEM file"),
        ({"client_ca": ""}, "path of a PEM file"),
        ({"alpn": 5}, "list of protocol names"),
        ({"alpn": ["\ud800"]}, "list of protocol names"),
        ({"alpn": "mqtt"}, "list of protocol names"),
        ({"alpn": [""]}, "1 to 255 bytes"),
        ({"minimum_version": 1.3}, "'1.2' or '1.3'"),
        ({"client_ca": 5}, "path of a PEM file"),
    ],
)
def test_mistakes_in_options_say_what_is_wanted(
    certificates: Certificates, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(vespiary.ConfigurationError, match=text):
        ServerTLS(*certificates.make("localhost"), **options)


@pytest.mark.parametrize("name", ["", "bad name", "*.example", "a/b", 5, b"localhost"])
def test_a_name_that_no_server_has_is_refused_at_once(name: Any) -> None:
    with pytest.raises(vespiary.ConfigurationError, match="server_name= takes"):
        ClientTLS(server_name=name)


def test_a_block_without_an_end_is_named_in_words(
    certificates: Certificates, tmp_path: Path
) -> None:
    certificate, key = certificates.make("localhost")
    cut = tmp_path / "cut.pem"
    cut.write_text(certificate.read_text()[:100])
    with pytest.raises(vespiary.ConfigurationError, match=r"has no end \(-----END"):
        ServerTLS(cut, key)
    with pytest.raises(vespiary.ConfigurationError, match="path of a PEM file"):
        ServerTLS("a\0b", key)


def test_tls_and_the_scheme_of_a_url_belong_together(tls: ServerTLS, trusting: ClientTLS) -> None:
    server = vespiary.Server()
    for url in ("wss://127.0.0.1:0", "tls://127.0.0.1:0"):
        with pytest.raises(vespiary.ConfigurationError, match="needs a certificate"):
            server.add(Echo(), url)
    with pytest.raises(vespiary.ConfigurationError, match="write wss://"):
        server.add(Echo(), "ws://127.0.0.1:0", tls=tls)
    with pytest.raises(vespiary.ConfigurationError, match="a ServerTLS or None"):
        server.add(Echo(), "wss://127.0.0.1:0", tls=trusting)  # type: ignore[arg-type]
    with pytest.raises(vespiary.ConfigurationError, match="no effect"):
        vespiary.connect("ws://127.0.0.1:9", tls=trusting)
    with pytest.raises(vespiary.ConfigurationError, match="a ClientTLS or None"):
        vespiary.connect("wss://127.0.0.1:9", tls=tls)  # type: ignore[arg-type]
