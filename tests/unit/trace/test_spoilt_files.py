"""Whatever the files of the tracer contain, the error names the file and what it should be."""

import pytest
from click.testing import CliRunner

from vespiary.cli.main import main

from .folder import Folder

SPOILT = {
    "null": b"null",
    "a number": b"12",
    "a string": b'"evidence"',
    "an array": b"[1, 2]",
    "an empty object": b"{}",
    "JSON that was cut": b'{"version": 4, "marks": [{"site": "a.r',
    "other types": b'{"version": 4, "marks": 1, "tests": null, "proofs": {}, "claims": true}',
    "a list of nulls": b'{"version": 4, "marks": [null], "tests": [null], "proofs": [null]}',
    "an empty file": b"",
    "bytes": b"\xff\xfe\x00\x01",
    "a null byte": b"\0" * 20,
    "deep nesting": b"[" * 100_000,
}

FILES = {
    "evidence.json": ["gate"],
    "snapshot.txt": ["gate", "--no-worse-than", "snapshot.txt"],
    "trace.toml": ["scan"],
    "requirements/nest.toml": ["scan"],
    "confirmations.toml": ["report"],
    "results.json": ["report"],
    "results.xml": ["report"],
}

HARMLESS = {
    *((name, "an empty file") for name in ("snapshot.txt", "trace.toml", "requirements/nest.toml")),
    ("confirmations.toml", "an empty file"),
}
"""An empty file is a table or a list without entries."""


def fails(folder: Folder, name: str, content: bytes, *, is_harmless: bool = False) -> None:
    folder.write_evidence()
    path = folder.root / name
    path.write_bytes(content)
    config = f"--config={folder.root / 'trace.toml'}"
    command = [part.replace("snapshot.txt", str(path)) for part in FILES[name]]
    done = CliRunner().invoke(main, ["trace", *command, config])
    assert "Traceback" not in done.output
    if is_harmless:
        return
    assert done.exit_code == 2, done.output
    assert name.rpartition("/")[2] in done.output
    for words in ("NoneType", "subscriptable", "object is not", "unexpected keyword"):
        assert words not in done.output


@pytest.mark.parametrize("content", SPOILT)
@pytest.mark.parametrize("name", FILES)
def test_a_spoilt_file_is_named_in_a_sentence(folder: Folder, name: str, content: str) -> None:
    fails(folder, name, SPOILT[content], is_harmless=(name, content) in HARMLESS)


OTHER_TYPES = {
    "confirmations.toml": ["confirmation = 3", "confirmation = [3]", "[confirmation]\nsuite = 1"],
    "requirements/nest.toml": ["requirement = 3", "requirement = [3]", "[requirement]\nid = 1",
                               "[[requirement]]\nid = 3", "specification = 3",
                               "[specification]\nname = 3", "vanished = 1",
                               "[[erratum]]\nnumber = 'x'",
                               "[specification]\nroles = 3", "[[requirement]]\nlevel = 'MUST'"],
    "trace.toml": ["sources = 3", "run = []", "gate = 3", "gate = [3]", "[run]\npytest = 'tests'",
                   "catalogues = 'x'", "evidence = 3", "texts = 3", "[outside]\nresults = {}"],
    "results.json": ['{"suite": 3, "passed": 3, "failed": []}', '{"suite": [], "passed": ["a"]}'],
    "snapshot.txt": ["nest/1/1", "nest/1/1 MUST nearly", "{}"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in OTHER_TYPES.items() for text in texts]
)
def test_a_value_of_another_type_is_named_in_a_sentence(
    folder: Folder, name: str, text: str
) -> None:
    fails(folder, name, text.encode())
