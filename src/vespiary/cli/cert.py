"""`vespiary cert NAME...`: a certificate for development, signed by an authority of one's own."""

import ipaddress
import os
from pathlib import Path

import click

from vespiary._core import make_authority, make_certificate
from vespiary.cli._help import Command
from vespiary.endpoint import is_host_name
from vespiary.errors import ConfigurationError

__all__ = ["cert"]

_AUTHORITY = "vespiary-ca"
_DAYS_MAX = 825


@click.command(cls=Command)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="The folder of the files.  [default: the current folder]",
)
@click.option(
    "--days",
    type=click.IntRange(1, _DAYS_MAX),
    default=365,
    show_default=True,
    help="Days for which the certificate is valid.",
)
def cert(names: tuple[str, ...], folder: Path, days: int) -> None:
    """Make a certificate for development, for host names and IP addresses.

    NAME is a host name, such as chat.test or '*.chat.test', or an IP address. The default names are
    localhost, 127.0.0.1 and ::1.

    The first run also makes a certificate authority (vespiary-ca.pem) in the folder. It signs this
    certificate and all later ones. Clients that trust the authority trust these certificates.

    Keep the authority's key (vespiary-ca-key.pem) secret: with it, anyone can pretend to be any
    server to these clients. For servers that others connect to, use certificates of a public
    authority.

    \b
    Examples:
      vespiary cert
      vespiary serve echo:Echo wss://127.0.0.1:9001 --cert localhost.pem --key localhost-key.pem
    """  # noqa: D301 - click knows the character by which a paragraph keeps its lines.
    for name in names:
        if not _is_name(name):
            raise ConfigurationError(
                f"{name!r} is neither a host name, such as chat.test, nor an IP address",
                subject="names",
                value=name,
            )
    wanted = list(names) or ["localhost", "127.0.0.1", "::1"]
    authority, authority_key = folder / f"{_AUTHORITY}.pem", folder / f"{_AUTHORITY}-key.pem"
    stem = wanted[0].replace("*", "_").replace(":", "_").replace("/", "_")
    certificate_file, key_file = folder / f"{stem}.pem", folder / f"{stem}-key.pem"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_new = not authority_key.exists()
        if is_new:
            made = make_authority()
            _write(authority_key, made[1], 0o600)
            _write(authority, made[0], 0o644)
        certificate, key = _certificate(authority_key, wanted, days)
        _write(key_file, key, 0o600)
        _write(certificate_file, certificate, 0o644)
    except OSError as error:
        raise click.ClickException(
            f"{error.filename} cannot be read or written: {error.strerror}"
        ) from error
    if is_new:
        click.echo(f"Made an authority: {authority} and {authority_key}")
    click.echo(f"Made a certificate for {', '.join(wanted)}, valid for {days} days:")
    click.echo(f"  {certificate_file}\n  {key_file}")
    click.echo(f"Serve with:   --cert {certificate_file} --key {key_file}")
    click.echo(f"Connect with: tls=vespiary.ClientTLS(ca={str(authority)!r})")


def _is_name(name: str) -> bool:
    """Whether it is an IP address, or a host name, perhaps for all below it (RFC 9525)."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return is_host_name(name.lower().removeprefix("*.")) and not name.endswith(".")
    return True


def _certificate(authority_key: Path, names: list[str], days: int) -> tuple[str, str]:
    try:
        return make_certificate(authority_key.read_text(), names, days)
    except ValueError as error:
        raise ConfigurationError(f"{authority_key}: {error.args[0]}", subject="names") from None


def _write(path: Path, text: str, mode: int) -> None:
    """Write a file with these permissions from the start, instead of one that is there."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
