"""TLS: certificates, keys and authorities of servers and clients; parameters of a connection.

TLS 1.2 and 1.3 (RFC 5246, RFC 8446), by rustls. Files are PEM (RFC 7468). If the environment
variable `SSLKEYLOGFILE` contains the path of a file, the secrets of each connection are written to
it, for tools such as Wireshark.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from vespiary._core import ClientTls, ServerTls
from vespiary._seconds import is_seconds, wanted_seconds
from vespiary.endpoint import is_host_name
from vespiary.errors import ConfigurationError

__all__ = ["ClientTLS", "ServerTLS", "TLSInfo", "default_client_tls"]

PathLike = str | os.PathLike[str]
MinimumVersion = Literal["1.2", "1.3"]
ClientCertificate = Literal["required", "optional"]

_State = tuple[tuple[int, int, int] | None, ...]

logger = logging.getLogger("vespiary")

_MINIMUM_VERSION: MinimumVersion = "1.2"
_HTTP = ("http/1.1",)
_ALPN_BYTES_MAX = 255


@dataclass(frozen=True, slots=True)
class TLSInfo:
    """The TLS parameters of a connection: `connection.tls`.

    Attributes:
        version: `TLSv1.2` or `TLSv1.3`.
        cipher: The cipher suite by its registered name, such as `TLS_AES_128_GCM_SHA256`.
        group: The group of the key exchange, such as `X25519MLKEM768` (which also resists quantum
            computers) or `X25519`; None where a TLS 1.2 session was resumed.
        alpn: The application protocol (RFC 7301), or None.
        server_name: The host name that the client asked for (RFC 6066 section 3), None if for none;
            on a client, the name that the server's certificate is valid for.
        peer_certificates: The verified certificates of the peer in DER format, its own first. Empty
            if the peer has sent none.
        resumed: Whether an earlier session was resumed, which saves the key exchange's signatures.
    """

    version: Literal["TLSv1.2", "TLSv1.3"]
    cipher: str
    group: str | None
    alpn: str | None
    server_name: str | None
    peer_certificates: tuple[bytes, ...] = field(repr=False)
    resumed: bool

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's own certificate in DER; None where it has shown none."""
        return self.peer_certificates[0] if self.peer_certificates else None


class ServerTLS:
    """The TLS options of a server's endpoints. Several endpoints can share one object.

    ::

        tls = vespiary.ServerTLS("fullchain.pem", "key.pem")
        vespiary.serve(Chat(), "wss://0.0.0.0:443", tls=tls)

    For development, `vespiary cert` makes a certificate and an authority that has signed it.

    Args:
        certificate: A file with the certificate, followed by the intermediate certificates.
        key: A file with its private key, without a passphrase. Default: it is in the same file.
        more: Further pairs of certificate and key. A client gets the certificate for the host name
            that it asks for, or the first one if there is none for this name.
        client_ca: A file with authorities. Clients must present a certificate that one of them has
            signed.
        client_certificate: With `client_ca`: whether a client without a certificate is refused
            (`required`, the default) or accepted (`optional`).
        alpn: The application protocols, the best first. Default: `http/1.1` for `wss://` and
            `https://`, none for `tls://`.
        minimum_version: `1.2` (the default) or `1.3`.
        watch_seconds: How often a running server looks whether the files have changed. Changed
            files are read at the next look after that, as with `reload`. None: they are not
            watched. 10: soon enough for what is renewed weeks before it expires.

    Raises:
        ConfigurationError: a file is not what it should be, or an option is not valid.
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        certificate: PathLike,
        key: PathLike | None = None,
        *,
        more: Iterable[tuple[PathLike, PathLike]] = (),
        client_ca: PathLike | None = None,
        client_certificate: ClientCertificate = "required",
        alpn: Iterable[str] | None = None,
        minimum_version: MinimumVersion = _MINIMUM_VERSION,
        watch_seconds: float | None = 10.0,
    ) -> None:
        if client_certificate not in ("required", "optional"):
            raise _wrong("client_certificate", client_certificate, "'required' or 'optional'")
        if client_certificate == "optional" and client_ca is None:
            raise _wrong("client_certificate", client_certificate, "effect with client_ca= only")
        first = (_path("certificate", certificate), _key(certificate, key))
        self._pairs = [first, *_pairs(more)]
        self._client_ca = None if client_ca is None else _path("client_ca", client_ca)
        self._clients_required = client_certificate == "required"
        self._alpn = None if alpn is None else _protocols(alpn)
        self._allows_tls12 = _allows_tls12(minimum_version)
        if watch_seconds is not None and not is_seconds(watch_seconds, zero=False):
            raise _wrong("watch_seconds", watch_seconds, wanted_seconds("None", zero=False))
        self.watch_seconds = watch_seconds
        self._native: dict[tuple[str, ...], ServerTls] = {}
        self._read = self._state()
        self._changed: _State | None = None
        self.native(is_http=True)

    def __repr__(self) -> str:
        return f"ServerTLS({str(self._pairs[0][0])!r})"

    def reload(self) -> None:
        """Read the files again, for connections that begin from now on; from any thread.

        Open connections are not affected. If a file is not valid, the old certificate stays in use.
        Only regular files are read: reading a pipe could block the server.

        Raises:
            ConfigurationError: a file is not what it should be.
            OSError: a file cannot be read.
        """
        self._read, self._changed = self._state(), None
        for path in self._paths():
            if path.exists() and not path.is_file() and not path.is_dir():
                text = f"{str(path)!r} is not a regular file, so it is not read again"
                raise ConfigurationError(text, subject="tls", value=path)
        settings = self._settings()
        for alpn, native in self._native.items():
            try:
                native.replace(*settings, _encoded(alpn), self._allows_tls12)
            except ValueError as error:
                raise self._error(error) from None

    def reload_logged(self, cause: str) -> None:
        """Read the files again, and log the outcome; internal."""
        try:
            self.reload()
        except (ConfigurationError, OSError) as error:
            logger.error("The old certificate of %r stays in use: %s", self, error)
        else:
            logger.info("Read the certificate of %r again: %s", self, cause)

    def enter_worker(self) -> None:
        """Read the files again if they have changed since the fork's parent has read them."""
        if self.watch_seconds is not None and self._state() != self._read:
            self.reload_logged("its files have changed")

    def rotate_tickets(self) -> None:
        """Replace the secret of session tickets if its time is over; for a process that forks."""
        for native in self._native.values():
            native.rotate_tickets()

    def look(self) -> None:
        """Check whether the files have changed, and read them if they have not changed again."""
        state = self._state()
        if state == self._read:
            self._changed = None
        elif state != self._changed:
            # Wait for one more look: another file may be about to change too.
            self._changed = state
        else:
            self.reload_logged("its files have changed")

    def _state(self) -> _State:
        """What is known of each file without reading it; None if it is not a regular file."""
        return tuple(_file_state(path) for path in self._paths())

    def _paths(self) -> list[Path]:
        paths = [path for pair in self._pairs for path in pair]
        return paths if self._client_ca is None else [*paths, self._client_ca]

    def native(self, *, is_http: bool) -> ServerTls:
        """Return what the native side uses for an endpoint with or without HTTP."""
        alpn = self._alpn if self._alpn is not None else _HTTP if is_http else ()
        if alpn not in self._native:
            settings = self._settings()
            try:
                self._native[alpn] = ServerTls(*settings, _encoded(alpn), self._allows_tls12)
            except ValueError as error:
                raise self._error(error) from None
        return self._native[alpn]

    def _settings(self) -> tuple[list[tuple[bytes, bytes]], bytes | None, bool]:
        pairs = [(one.read_bytes(), other.read_bytes()) for one, other in self._pairs]
        ca = None if self._client_ca is None else self._client_ca.read_bytes()
        return pairs, ca, self._clients_required

    def _error(self, error: ValueError) -> ConfigurationError:
        text, name, number = error.args
        return _file_error(text, name, {"client_ca": self._client_ca}, self._pairs[number])


class ClientTLS:
    """The TLS options of clients.

    Connections that share an object can resume each other's sessions.

    ::

        tls = vespiary.ClientTLS(ca="authority.pem")
        async with vespiary.connect("wss://chat.internal", tls=tls) as connection:
            ...

    By default, clients trust the authorities of this machine. The server's certificate is always
    verified. For a self-signed certificate, pass the certificate itself as `ca`.

    Args:
        ca: A file with the trusted authorities. Default: this machine's, or what the environment
            variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
        certificate: A file with this client's certificate, for servers that ask for one.
        key: A file with its private key. Default: it is in the same file.
        server_name: The name that the server's certificate must be valid for. Default: the host of
            the URL.
        alpn: The application protocols, the best first. Default: `http/1.1` for `wss://`, none for
            `tls://`.
        minimum_version: `1.2` (the default) or `1.3`.

    Raises:
        ConfigurationError: a file is not what it should be, or an option is not valid.
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        *,
        ca: PathLike | None = None,
        certificate: PathLike | None = None,
        key: PathLike | None = None,
        server_name: str | None = None,
        alpn: Iterable[str] | None = None,
        minimum_version: MinimumVersion = _MINIMUM_VERSION,
    ) -> None:
        if key is not None and certificate is None:
            raise _wrong("key", key, "the key of certificate=, which is missing")
        if server_name is not None and not _is_server_name(server_name):
            raise _wrong("server_name", server_name, "a host name, an IP address or None")
        self._ca = None if ca is None else _path("ca", ca)
        self._pair: tuple[Path, Path] | None = None
        if certificate is not None:
            self._pair = (_path("certificate", certificate), _key(certificate, key))
        self._alpn = None if alpn is None else _protocols(alpn)
        self._allows_tls12 = _allows_tls12(minimum_version)
        self._native: dict[tuple[str, ...], ClientTls] = {}
        self.server_name = None if server_name is None else _ascii(server_name)
        self.native(is_http=True)

    def __repr__(self) -> str:
        return "ClientTLS()" if self._ca is None else f"ClientTLS(ca={str(self._ca)!r})"

    def native(self, *, is_http: bool) -> ClientTls:
        """Return what the native side uses for a connection with or without HTTP."""
        alpn = self._alpn if self._alpn is not None else _HTTP if is_http else ()
        if alpn not in self._native:
            ca = None if self._ca is None else self._ca.read_bytes()
            pair = None
            if self._pair is not None:
                pair = self._pair[0].read_bytes(), self._pair[1].read_bytes()
            try:
                self._native[alpn] = ClientTls(ca, pair, _encoded(alpn), self._allows_tls12)
            except ValueError as error:
                raise self._error(error) from None
        return self._native[alpn]

    def _error(self, error: ValueError) -> ConfigurationError:
        text, name, _ = error.args
        return _file_error(text, name, {"ca": self._ca}, self._pair)


@cache
def default_client_tls() -> ClientTLS:
    """Return what clients use that were given none.

    Raises:
        ConfigurationError: this machine has no trusted authorities.
    """
    return ClientTLS()


def _file_state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _wrong(name: str, value: object, wanted: str) -> ConfigurationError:
    return ConfigurationError(f"{name}= takes {wanted}; got {value!r}", subject=name, value=value)


def _path(name: str, given: object) -> Path:
    if not isinstance(given, str | os.PathLike) or not os.fspath(given) or "\0" in str(given):
        raise _wrong(name, given, "the path of a PEM file")
    return Path(given)


def _pairs(more: object) -> list[tuple[Path, Path]]:
    """Check the further certificates and keys of a server."""
    wanted = "a list of pairs of paths: certificate and key"
    if isinstance(more, str | bytes) or not isinstance(more, Iterable):
        raise _wrong("more", more, wanted)
    pairs = list(more)
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise _wrong("more", pairs, wanted)
    return [(_path("more", one), _path("more", other)) for one, other in pairs]


def _ascii(name: str) -> str:
    """Return a host name in its IDNA form, if it has one."""
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name


def _is_server_name(given: object) -> bool:
    """Whether it is an IP address, or can be a host's name."""
    if not isinstance(given, str):
        return False
    try:
        ipaddress.ip_address(given)
    except ValueError:
        return is_host_name(_ascii(given).lower())
    return True


def _key(certificate: PathLike, key: PathLike | None) -> Path:
    return _path("key", certificate if key is None else key)


def _file_error(
    text: str, name: str | None, others: dict[str, Path | None], pair: tuple[Path, Path] | None
) -> ConfigurationError:
    """Return the error that says which file is wrong, and for a key, which certificate it is for.

    Args:
        text: What is wrong.
        name: The option that names the file; None if the error is not about a file.
        others: Files of options that are neither certificates nor keys.
        pair: The certificate and the key.
    """
    certificate, key = pair or (None, None)
    paths = {"certificate": certificate, "key": key, **others}
    path = None if name is None else paths[name]
    if name == "key" and key == certificate:
        text = f"{text}; if the key is in another file, pass that file as key"
    elif name == "key":
        text = f"{text} (the certificate is {str(certificate)!r})"
    where = f"{name} {str(path)!r}: " if path is not None else ""
    return ConfigurationError(f"{where}{text}", subject=name or "tls", value=path)


def _protocols(given: object) -> tuple[str, ...]:
    is_list = isinstance(given, Iterable) and not isinstance(given, str | bytes)
    names: tuple[object, ...] = tuple(given) if is_list else ()  # type: ignore[arg-type]
    checked = tuple(name for name in names if isinstance(name, str) and _is_protocol(name))
    if not is_list or len(checked) < len(names):
        raise _wrong("alpn", given, "a list of protocol names of 1 to 255 bytes, such as ['mqtt']")
    return checked


def _is_protocol(name: str) -> bool:
    return 0 < len(name.encode(errors="surrogatepass")) <= _ALPN_BYTES_MAX and name.isprintable()


def _allows_tls12(minimum_version: object) -> bool:
    if minimum_version not in ("1.2", "1.3"):
        raise _wrong("minimum_version", minimum_version, "'1.2' or '1.3'")
    return minimum_version == "1.2"


def _encoded(alpn: Sequence[str]) -> list[bytes]:
    return [name.encode() for name in alpn]
