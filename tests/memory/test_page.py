"""The page and the picture of a run."""

import base64
import hashlib
import json
import re
import sys
from html import unescape
from pathlib import Path

from tests.memory.conftest import memory
from vespiary.prove.memory.outcome import conclude
from vespiary.prove.memory.page import as_html
from vespiary.prove.memory.processes import Memory
from vespiary.prove.memory.reading import Reading
from vespiary.prove.memory.record import KernelSample, Record
from vespiary.prove.memory.run import Measured

EVIL = '</script><script src="http://evil/">'


def page_of(record: Record, *command: str, limit: int | None = None) -> str:
    return as_html(conclude(Measured(command, 0, limit, "sampling", {}, record), None, None))


def test_the_page_loads_nothing_and_runs_its_own_script_only() -> None:
    record = Record()
    for number in range(100):
        level = 1000 * number
        record.add(number * 0.1, Reading(Memory(level, 10, 20), 5, None), 0)
    page = page_of(record, "server", EVIL, limit=80_000)
    assert EVIL not in page
    assert not re.search(r"(?:src|href)\s*=\s*[\"']", page.replace("&quot;", ""))
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page


def test_the_page_draws_each_kind_of_memory_and_the_limit() -> None:
    record = Record()
    for number in range(50):
        record.add(number * 0.1, Reading(Memory(50 << 20, 5 << 20, 9 << 20), 1 << 20, None), 0)
    page = page_of(record, "server", limit=70 << 20)
    for kind in ("private", "shared", "kernel", "cache"):
        assert f'<path class="area {kind}" d="M' in page
    assert "limit 70.0 MiB</text>" in page
    assert page.count("80.0 MiB</text>") == 1
    assert "limit 900.0 GiB</text>" not in page_of(record, "server", limit=900 << 30)


def test_the_page_draws_what_the_kernel_says_of_a_control_group() -> None:
    record = Record()
    assert "memory.stat" not in page_of(record, "server")
    for number in range(10):
        stat = {"anon": number << 20, "file": 1 << 20, "pgfault": 10**9}
        record.add_kernel(KernelSample(number * 0.1, stat, {"some": 2.5, "full": 0.5}))
    page = page_of(record, "server")
    names = [
        [line["name"] for line in json.loads(unescape(plot))["lines"]]
        for plot in re.findall('data-plot="([^"]*)"', page)
    ]
    assert ["anon", "file"] in names
    assert ["some waited", "full waited"] in names
    assert "pgfault" not in page


def test_a_run_without_samples_has_a_page_too() -> None:
    assert "<svg" in page_of(Record(), "true")


def test_the_command_writes_the_page_and_the_picture(tmp_path: Path) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "picture.png"
    words: list[str | Path] = [
        "--html",
        page,
        "--plot",
        picture,
        "--",
        sys.executable,
        "-c",
        "print(1)",
    ]
    done = memory(*words)
    assert done.returncode == 0, done.stderr
    assert "Passed</p>" in page.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")
    done = memory("--plot", tmp_path / "picture.txt", "--", "/bin/true")
    assert done.returncode == 2
    assert "does not name a picture: end it in .png" in " ".join(done.stderr.split())
