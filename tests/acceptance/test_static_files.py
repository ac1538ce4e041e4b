"""examples/static_files.py"""

import urllib.request
from pathlib import Path

from .conftest import Start

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_files_come_whole_and_in_parts_and_the_time_next_to_them(start: Start) -> None:
    example = start("static_files.py", "http://127.0.0.1:0", serving=2)
    url, time = (one.rstrip("/") for one in example.urls)
    content = (EXAMPLES / "static_files.py").read_bytes()
    with urllib.request.urlopen(f"{url}/static_files.py") as reply:
        assert reply.read() == content
        assert reply.headers["Cache-Control"] == "public, max-age=3600"
        etag = reply.headers["ETag"]
    request = urllib.request.Request(f"{url}/static_files.py", headers={"Range": "bytes=3-9"})
    with urllib.request.urlopen(request) as reply:
        assert (reply.status, reply.read()) == (206, content[3:10])
        assert reply.headers["ETag"] == etag
    with urllib.request.urlopen(time) as reply:
        assert reply.read().count(b":") == 2
    example.stop()
