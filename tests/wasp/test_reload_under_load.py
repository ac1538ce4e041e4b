"""Reloads and upgrades under load, as `python -m benches.reloads` measures them."""

import argparse
from pathlib import Path

import pytest

import vespiary
from benches.reloads.__main__ import DRAIN_SECONDS, measure
from benches.reloads.server import Server


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "driver"), [(0, "uring"), (2, "epoll")], ids=["alone", "workers"]
)
@pytest.mark.parametrize("way", ["reload", "upgrade"])
def test_clients_notice_nothing(tmp_path: Path, way: str, workers: int, driver: str) -> None:
    server = Server(tmp_path, workers, DRAIN_SECONDS, driver)
    options = argparse.Namespace(way=way, count=3, connections=30, pause=0.5)
    try:
        figures = vespiary.loop.run(measure(server, options))
    finally:
        server.stop()
    assert len(figures.switches) == 3
    assert figures.echoes > 30
    assert figures.load_messages > 0
    assert figures.load_failures == []
    assert figures.refused == []
    assert figures.altered == 0
    assert figures.early == 0
    assert len(figures.ended) >= 30
