"""A real program under the detector: started, worked on, stopped as an operator would."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from tests.locks.real.catalogue import Program
from tests.locks.real.workplace import room, until

STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Session:
    """The outcome of it.

    Attributes:
        program: Which.
        status: The exit code of `vespiary locks`.
        done: What the load did: requests answered, transactions made.
        seconds: From start to end.
        report: What `--json` wrote.
        said: What was printed.
    """

    program: Program
    status: int
    done: int
    seconds: float
    report: dict[str, Any]
    said: str

    @property
    def told(self) -> list[dict[str, Any]]:
        """The findings that count."""
        return [each for each in self.report["findings"] if each["kind"] != "information"]


def perform(program: Program, seconds: float) -> Session:
    """Run a program with its load for some seconds."""
    with room() as here:
        command = program.start(here)
        report, said = here.folder / "report.json", here.folder / "said"
        verb = [sys.executable, "-m", "vespiary", "locks", "--json", str(report)]
        if program.known is not None:
            verb += ["--suppress", str(program.known)]
        began = time.monotonic()
        with said.open("w") as output:
            process = subprocess.Popen(
                [*verb, "--", *command],
                cwd=here.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        done = 1
        try:
            if program.load is not None:
                until(lambda: program.is_ready(here), lambda: process.poll() is not None)
                done = program.load(here, seconds)
                process.send_signal(signal.SIGTERM)
            status = process.wait(STOP_SECONDS if program.load else STOP_SECONDS + seconds)
        except BaseException as error:
            process.terminate()
            process.wait(STOP_SECONDS)
            error.add_note(said.read_text(errors="replace"))
            raise
        lasted = time.monotonic() - began
        text = said.read_text(errors="replace")
        return Session(program, status, done, lasted, json.loads(report.read_text()), text)
