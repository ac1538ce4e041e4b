"""`python -m benches.timewait`: costs, owners, forecast and totals, in namespaces of their own."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benches import machine
from benches.outcome import RESULTS
from benches.provision import say
from benches.timewait import scenes
from benches.timewait.report import markdown
from tests.timewait.traffic import bring_up

SECONDS_MAX = 300
Scene = Callable[[Path], dict[str, Any]]
SCENES: dict[str, Scene] = {
    "50,000 sockets of one remote": lambda _: scenes.dump(1),
    "50,000 sockets of 50,000 remotes": lambda _: scenes.dump(50_000),
    "10,000 closes, by tracepoint": lambda _: scenes.closers("tracepoint", 1.0, 0.0),
    "10,000 closes, by polling each second": lambda _: scenes.closers("polling", 1.0, 0.1),
    "10,000 closes, by polling each 100 ms": lambda _: scenes.closers("polling", 0.1, 0.1),
    "10,000 short closes, by polling each second": lambda _: scenes.closers("polling", 1.0, 0.0),
    "the forecast at 300 connections per second": scenes.forecast,
}


def _alone(name: str, recording: Path) -> dict[str, Any]:
    """Run a scene in a network namespace of its own."""
    options = ["--net"] if os.geteuid() == 0 else ["--map-root-user", "--net"]
    command = ["unshare", *options, sys.executable, "-m", "benches.timewait", "--scene", name]
    command += ["--recording", str(recording)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr else "no reason"}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> int:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benches.timewait", description=__doc__)
    parser.add_argument("--only", action="append", choices=SCENES, help="may be repeated")
    parser.add_argument("--scene", choices=SCENES, help=argparse.SUPPRESS)
    parser.add_argument("--name", default=f"{time.strftime('%Y-%m-%d')}-timewait")
    parser.add_argument("--recording", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.scene:
        bring_up()
        json.dump(SCENES[given.scene](given.recording), sys.stdout)
        return 0
    found = {}
    for name in given.only or SCENES:
        say(name)
        found[name] = _alone(name, RESULTS / f"{given.name}.jsonl")
    text = markdown(found, machine.describe())
    if given.only:
        print(text)
        return 0
    document = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": machine.describe(),
        "found": found,
    }
    (RESULTS / f"{given.name}.json").write_text(json.dumps(document, indent=1) + "\n")
    path = RESULTS / f"{given.name}.md"
    path.write_text(text)
    print(path)
    return 1 if any("failed" in it for it in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
