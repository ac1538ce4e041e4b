"""Each mistake in a configuration is reported with file, line, key, and what was expected."""

from pathlib import Path

import pytest

from tests.api.certificates import Certificates
from vespiary.wasp import FileError, check

from .broken_files import BROKEN, HEAD, PLUGIN, TYPED, WS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plug.py").write_text(PLUGIN)
    (tmp_path / "ending.py").write_text("raise SystemExit(3)\n")
    return tmp_path


def mistakes(path: Path) -> list[str]:
    with pytest.raises(FileError) as got:
        check(path)
    return list(got.value.lines)


@pytest.mark.parametrize(("text", "line", "words"), BROKEN.values(), ids=BROKEN)
def test_a_mistake_is_reported_with_file_line_and_key(
    folder: Path, text: str, line: int, words: str
) -> None:
    path = folder / "wasp.toml"
    path.write_text(text)
    lines = mistakes(path)
    assert len(lines) == 1, "\n".join(lines)
    assert lines[0].startswith(f"{path}:{line}: ")
    assert words in lines[0]


def test_text_that_is_not_utf_8_is_reported_with_its_line(folder: Path) -> None:
    path = folder / "wasp.toml"
    path.write_bytes((HEAD + "# caf\u00e9\n").encode("latin-1"))
    assert mistakes(path) == [f"{path}:4: is not valid UTF-8 text"]


def test_the_files_without_the_mistakes_are_valid(folder: Path) -> None:
    for text in (HEAD, WS, TYPED + 'config.greeting = "x"\n'):
        (folder / "wasp.toml").write_text(text)
        assert list(check(folder / "wasp.toml").endpoints) == ["a"]


def test_one_wrong_file_of_tls_is_one_error(folder: Path) -> None:
    certificates = Certificates(folder)
    certificate, key = certificates.make("localhost")
    _, other = certificates.make("example.com")
    path = folder / "wasp.toml"
    for tls, words in (
        (
            f"certificate = '{certificate}', key = '{other}'",
            f"endpoints.a.tls.key: key '{other}': it is not the key of that certificate"
            f" (the certificate is '{certificate}')",
        ),
        (
            f"certificate = '{certificates.ca}'",
            "it has no private key in it (a block that begins with -----BEGIN PRIVATE KEY-----);"
            " if the key is in another file, pass that file as key",
        ),
        (
            f"certificate = '{certificate}', key = '{key}', client_ca = 'none.pem',"
            " client_certificate = 'optional'",
            "endpoints.a.tls.client_ca: ",
        ),
    ):
        path.write_text(HEAD.replace("tcp:", "tls:") + f"tls = {{ {tls} }}\n")
        (line,) = mistakes(path)
        assert words in line


def test_several_mistakes_are_reported_at_once(folder: Path) -> None:
    path = folder / "wasp.toml"
    path.write_text(
        "worker = 2\n"
        '[endpoints.a]\nurl = "tpc://127.0.0.1:1"\nplugin = 1\nlimit = {}\n'
        '[endpoints.b]\nurl = "tpc://127.0.0.1:1"\nplugin = "x"\n'
        "limits.headers_max = 0\nlimits.fragments_max = 0\n"
    )
    text = "\n".join(mistakes(path))
    for words in (
        ":1: worker: unknown key: did you mean 'workers'?",
        ":4: endpoints.a.plugin: expected a string; got 1",
        ":5: endpoints.a.limit: unknown key",
        ":7: endpoints.b.url: ",
        ":9: endpoints.b.limits.headers_max: ",
        ":10: endpoints.b.limits.fragments_max: ",
    ):
        assert words in text


def test_a_mistake_in_an_included_file_has_that_files_name_and_line(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "b.toml").write_text("\n[endpoints.b]\nplugin = 1\n")
    (folder / "more" / "c.toml").write_text("[endpoints.c\n")
    (folder / "more" / "d.toml").write_text(HEAD)
    (folder / "wasp.toml").write_text('include = ["more/*.toml"]\n' + HEAD)
    text = "\n".join(mistakes(folder / "wasp.toml"))
    assert f"{folder}/more/b.toml:3: endpoints.b.plugin: expected a string" in text
    assert f"{folder}/more/c.toml:1: is not valid TOML" in text
    assert f"{folder}/more/d.toml:1: endpoints.a: is in {folder}/wasp.toml:2 too" in text


def test_a_secret_is_not_in_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "swordfish")
    path = folder / "wasp.toml"
    path.write_text(TYPED + 'config = { greeting = "x", repeat = "${SECRET}" }\n')
    (line,) = mistakes(path)
    assert "expected a whole number; got '${SECRET}'" in line
    assert "swordfish" not in line
