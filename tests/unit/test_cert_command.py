"""`vespiary cert`: an authority once, and certificates that it has signed."""

import ssl
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vespiary.cli.main import main


def cert(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["cert", *arguments])


def test_the_first_run_makes_an_authority_and_a_certificate_for_this_machine(
    tmp_path: Path,
) -> None:
    result = cert("--folder", str(tmp_path / "new"))
    assert result.exit_code == 0, result.output
    folder = tmp_path / "new"
    context = ssl.create_default_context(cafile=folder / "vespiary-ca.pem")
    context.load_cert_chain(folder / "localhost.pem", folder / "localhost-key.pem")
    for key in folder.glob("*-key.pem"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert f"--cert {folder}/localhost.pem --key {folder}/localhost-key.pem" in result.output


def test_later_runs_use_the_same_authority(tmp_path: Path) -> None:
    cert("--folder", str(tmp_path))
    authority = (tmp_path / "vespiary-ca.pem").read_text()
    result = cert("chat.test", "*.chat.test", "192.0.2.1", "--folder", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "authority" not in result.output
    assert (tmp_path / "vespiary-ca.pem").read_text() == authority
    assert (tmp_path / "chat.test.pem").exists()


@pytest.mark.parametrize("name", ["a b", "", "-x.test", "http://a.test", "a/b", "*"])
def test_what_is_not_a_name_is_refused_before_anything_is_written(
    tmp_path: Path, name: str
) -> None:
    result = cert("--folder", str(tmp_path), "--", name)
    assert result.exit_code == 2
    assert "neither a host name, such as chat.test, nor an IP address" in result.output
    assert not list(tmp_path.iterdir())


def test_an_authority_whose_key_is_broken_is_named(tmp_path: Path) -> None:
    (tmp_path / "vespiary-ca-key.pem").write_text("nonsense")
    result = cert("--folder", str(tmp_path))
    assert result.exit_code == 2
    assert "vespiary-ca-key.pem: the authority's key is not valid" in result.output
