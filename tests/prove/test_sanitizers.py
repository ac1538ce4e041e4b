"""The sanitizers as tools: each finds its defect in a server in C, and nothing in other servers."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.prove.conftest import prove

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

SOURCE = Path(__file__).parent / "programs" / "native.c"
CASE = """
[cases.{name}]
matrix.tools = ["{kind}-sanitizer"]
server.command = ["{program}", "{{port}}", "{defect}"]
server.ready = {{ output = "^serving$", port = "{{port}}" }}
[[cases.{name}.clients]]
load = "tcp://127.0.0.1:{{port}} --framing line --connections 4 --messages 20"
"""
SAYS = {
    "address": "heap-buffer-overflow",
    "thread": "data race",
    "undefined": "signed integer overflow",
}


@pytest.mark.parametrize("kind", SAYS)
def test_a_sanitizer_finds_its_defect_and_passes_the_repaired_server(
    kind: str, suite: Path
) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler is not None
    program = suite.parent / kind
    flags = ["-g", "-O1", "-pthread", f"-fsanitize={kind}"]
    subprocess.run([compiler, *flags, "-o", program, SOURCE], check=True)
    suite.write_text(
        "".join(
            CASE.format(name=name, kind=kind, program=program, defect=defect)
            for name, defect in (("planted", kind), ("repaired", "none"))
        )
    )
    run = prove(suite)
    assert run.code == 1, run.output
    # AddressSanitizer ends the server, which the client notices too.
    found = [
        finding["detail"]
        for finding in run.cell(f"planted/{kind}-sanitizer")["findings"]
        if finding["kind"] == "tool"
    ]
    assert len(found) == 1, run.output
    assert SAYS[kind] in found[0]
    assert run.cell(f"repaired/{kind}-sanitizer")["outcome"] == "passed", run.output
