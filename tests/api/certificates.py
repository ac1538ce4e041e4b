"""Certificates of the tests, from an authority of their own."""

import ssl
from pathlib import Path
from typing import Any

from vespiary._core import make_authority, make_certificate


class Certificates:
    """An authority, and files of certificates that it has signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        certificate, self._key = make_authority()
        self.ca = folder / "ca.pem"
        self.ca.write_text(certificate)

    def make(self, *names: str) -> tuple[Path, Path]:
        """The files of a certificate and its key."""
        certificate, key = make_certificate(self._key, list(names), 30)
        files = self.folder / f"{names[0]}.pem", self.folder / f"{names[0]}-key.pem"
        files[0].write_text(certificate)
        files[1].write_text(key)
        return files

    def context(self, **options: Any) -> ssl.SSLContext:
        """What Python's `ssl` connects with."""
        context = ssl.create_default_context(cafile=self.ca)
        for name, value in options.items():
            setattr(context, name, value)
        return context

    def server_context(self) -> ssl.SSLContext:
        """What Python's `ssl` serves with."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.make("localhost", "127.0.0.1"))
        return context
