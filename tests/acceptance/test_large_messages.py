"""The example of large messages: gigabytes through a process that stays small."""

import hashlib
import json
import threading
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from .conftest import Example, Start

pytestmark = pytest.mark.acceptance

PART = bytes(range(256)) * 1024
UPLOAD_PARTS = 1600
GROWTH_MAX = 24 << 20


class Watch:
    """The greatest resident size that an example reaches while this runs."""

    def __init__(self, example: Example) -> None:
        self.example = example
        self.before = example.resident_bytes()
        self.peak = self.before
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.peak = max(self.peak, self.example.resident_bytes())

    def growth(self) -> int:
        self._over.set()
        self._thread.join()
        return self.peak - self.before


def upload_parts(digest: "hashlib._Hash") -> Iterator[bytes]:
    for _ in range(UPLOAD_PARTS):
        digest.update(PART)
        yield PART


def test_an_upload_of_many_parts_is_hashed_in_constant_memory(start: Start) -> None:
    example = start("large_messages.py", "ws://127.0.0.1:0/")
    digest = hashlib.sha256()
    watch = Watch(example)
    with connect(example.url, compression=None) as client:
        client.send(upload_parts(digest))
        receipt = json.loads(client.recv(timeout=60))
    assert receipt == {"size": UPLOAD_PARTS * len(PART), "sha256": digest.hexdigest()}
    assert watch.growth() < GROWTH_MAX
    example.stop()


def test_an_upload_in_a_single_frame_is_as_small(start: Start) -> None:
    example = start("large_messages.py", "ws://127.0.0.1:0/")
    whole = PART * (UPLOAD_PARTS // 4)
    watch = Watch(example)
    with connect(example.url, compression=None) as client:
        client.send(whole)
        receipt = json.loads(client.recv(timeout=60))
    assert receipt == {"size": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}
    assert watch.growth() < GROWTH_MAX
    example.stop()


def test_a_download_comes_in_parts_and_waits_for_its_reader(start: Start) -> None:
    example = start("large_messages.py", "ws://127.0.0.1:0/")
    size = 300_000_007
    watch = Watch(example)
    with connect(example.url, compression=None, max_size=None) as client:
        client.send(f"download {size}")
        client.send("download 10")
        received = 0
        for part in client.recv_streaming():
            assert isinstance(part, bytes)
            received += len(part)
        assert received == size
        assert client.recv(timeout=60) == bytes(range(10))
    assert watch.growth() < GROWTH_MAX
    example.stop()


def test_what_only_looks_like_a_wish_is_hashed(start: Start) -> None:
    example = start("large_messages.py", "ws://127.0.0.1:0/")
    with connect(example.url) as client:
        for text in ("", "download", "download 5 now", "d" * 200, "Umlaut ü"):
            client.send(text)
            encoded = text.encode()
            expected = {"size": len(encoded), "sha256": hashlib.sha256(encoded).hexdigest()}
            assert json.loads(client.recv(timeout=60)) == expected
    example.stop()
