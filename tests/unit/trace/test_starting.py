"""`init` finds languages, sources and tests; nothing that is there is overwritten."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vespiary.cli.main import main
from vespiary.prove.trace.settings import read_settings
from vespiary.prove.trace.starting import looked_at


def make(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def init(root: Path) -> Result:
    return CliRunner().invoke(main, ["trace", "init", "--root", str(root)])


def test_a_python_package_with_its_tests_is_found(tmp_path: Path) -> None:
    make(tmp_path, {"src/hive/__init__.py": "", "tests/test_hive.py": "", "setup.py": ""})
    assert init(tmp_path).exit_code == 0
    settings = read_settings(tmp_path / "trace.toml")
    assert settings.python == ("src/hive/**/*.py", "tests/**/*.py")
    assert settings.pytest == ("tests",)
    assert not settings.rust
    assert not settings.cargo
    assert settings.gates[0].status == "proven"
    assert settings.gates[0].levels == ("MUST", "MUST NOT", "must")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", '[tool.pytest.ini_options]\ntestpaths = ["checks"]\n'),
        ("tox.ini", "[pytest]\ntestpaths = checks missing\n"),
        ("setup.cfg", "[tool:pytest]\ntestpaths = checks\n"),
    ],
)
def test_pytests_own_settings_say_where_the_tests_are(tmp_path: Path, name: str, text: str) -> None:
    make(
        tmp_path, {"hive/__init__.py": "", "checks/check_it.py": "", "test_more.py": "", name: text}
    )
    layout = looked_at(tmp_path)
    assert layout.tests == ("checks",)
    assert layout.python == ("hive/**/*.py", "checks/**/*.py")


def test_modules_beside_their_tests_are_found(tmp_path: Path) -> None:
    make(tmp_path, {"hive.py": "", "test_hive.py": ""})
    assert looked_at(tmp_path).python == ("*.py", "test_hive.py")


def test_a_rust_workspace_has_a_feature_for_each_package(tmp_path: Path) -> None:
    package = '[package]\nname = "{}"\n'
    make(
        tmp_path,
        {
            "Cargo.toml": '[workspace]\nmembers = ["crates/*"]\nexclude = ["crates/old"]\n',
            "crates/hive/Cargo.toml": package.format("hive"),
            "crates/hive/src/lib.rs": "",
            "crates/hive/tests/it.rs": "",
            "crates/wasp/Cargo.toml": package.format("wasp"),
            "crates/wasp/src/lib.rs": "",
            "crates/old/Cargo.toml": package.format("old"),
            "target/debug/build/x/src/lib.rs": "",
        },
    )
    assert init(tmp_path).exit_code == 0
    settings = read_settings(tmp_path / "trace.toml")
    assert settings.rust == (
        "crates/hive/src/**/*.rs", "crates/hive/tests/**/*.rs", "crates/wasp/src/**/*.rs"
    )  # fmt: skip
    assert settings.cargo == (
        ("--package=hive", "--package=wasp", "--features=hive/trace,wasp/trace"),
    )


def test_packages_that_only_help_have_no_feature_and_tools_are_left_out(tmp_path: Path) -> None:
    """The tests of a published package are in another one, with a third one to help them."""
    head = '[package]\nname = "{}"\npublish = false\n'
    members = 'members = ["tests/*", "fuzz", "tool"]\n[workspace.package]\npublish = false\n'
    make(
        tmp_path,
        {
            "Cargo.toml": f'[package]\nname = "hive"\n[workspace]\n{members}',
            "src/lib.rs": "",
            "tests/hive-tests/Cargo.toml": head.format("hive-tests"),
            "tests/hive-tests/tests/doors.rs": "",
            "tests/support/Cargo.toml": head.format("support"),
            "tests/support/src/lib.rs": "",
            "fuzz/Cargo.toml": head.format("fuzz").replace("false", "[]"),
            "fuzz/src/main.rs": "",
            "tool/Cargo.toml": '[package]\nname = "tool"\npublish.workspace = true\n',
            "tool/src/main.rs": "",
        },
    )
    assert init(tmp_path).exit_code == 0
    settings = read_settings(tmp_path / "trace.toml")
    assert settings.rust == ("src/**/*.rs", "tests/**/*.rs")
    assert settings.cargo == (("--package=hive", "--package=hive-tests", "--features=hive/trace"),)


def test_a_workspace_of_which_nothing_is_published_is_traced_as_a_whole(tmp_path: Path) -> None:
    head = '[package]\nname = "{}"\npublish = false\n'
    make(
        tmp_path,
        {
            "Cargo.toml": '[workspace]\nmembers = ["*"]\n',
            "hive/Cargo.toml": head.format("hive"),
            "hive/src/lib.rs": "",
            "checks/Cargo.toml": head.format("checks"),
            "checks/tests/doors.rs": "",
        },
    )
    assert init(tmp_path).exit_code == 0
    settings = read_settings(tmp_path / "trace.toml")
    assert settings.cargo == (("--package=checks", "--package=hive", "--features=hive/trace"),)


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    make(tmp_path, {"hive.py": "", "trace.toml": "mine"})
    refused = init(tmp_path)
    assert refused.exit_code == 2
    assert "exists already: edit it" in refused.output
    assert (tmp_path / "trace.toml").read_text() == "mine"


def test_a_folder_with_nothing_to_trace_is_refused(tmp_path: Path) -> None:
    refused = init(tmp_path)
    assert refused.exit_code == 2
    assert "neither a Cargo.toml" in refused.output


@pytest.mark.parametrize("source", ["src/hive.py", "src/hive/nest.py"])
def test_modules_and_packages_without_a_file_of_their_own_are_found(
    tmp_path: Path, source: str
) -> None:
    make(tmp_path, {source: "", "src/hive.egg-info/x.py": "", "tests/test_hive.py": ""})
    assert looked_at(tmp_path).python == ("src/**/*.py", "tests/**/*.py")


def test_a_single_package_has_a_feature_of_its_own(tmp_path: Path) -> None:
    make(tmp_path, {"Cargo.toml": '[package]\nname = "hive"\nedition = "2018"\n', "src/a.rs": ""})
    assert init(tmp_path).exit_code == 0
    settings = read_settings(tmp_path / "trace.toml")
    assert settings.cargo == (("--package=hive", "--features=trace"),)
