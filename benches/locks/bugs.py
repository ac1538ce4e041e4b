"""`python -m benches.locks.bugs`: verdicts on programs with the structure of reported bugs.

Each program of tests/locks/bugs names in its first lines where the bug was reported, and what is to
be found in each of its forms. Vespiary runs each form five times, and five times more beside two
programs that compute without end; it has to be right each time. The peers run those of C and C++;
what they said does not depend on Vespiary, so that `--recorded-peers` takes it from the latest
results. The table becomes docs/explanation/lock-bug-reports.md, the single counts go into the
results.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benches import machine
from benches.catalogue import HERE
from benches.locks import versions
from benches.locks.detectors import BARE, PEERS, VESPIARY
from benches.locks.verdicts import (
    HANGS_MAX,
    PROGRAMS,
    READING,
    Program,
    about,
    cell,
    is_ours_right,
    judge,
    score,
    table,
)
from benches.outcome import RESULTS

BUGS = PROGRAMS.parent / "bugs"
PAGE = HERE.parent / "docs" / "explanation" / "lock-bug-reports.md"
SHARED = {"forms.py"}
BUSY = 2
BUSY_SECONDS_MAX = 4 * 3600

INTRODUCTION = """\
# Verdicts on reported bugs

Each line is a program of `tests/locks/bugs`. It has the structure of a bug that was reported in
public. The name of the program is a link to the report. Most programs have three forms. In
**order**, the threads run one after the other, so that the program does not deadlock. In **hang**,
they run at the same time and deadlock. **Repaired** is the program with a fix. A program without a
mistake has one form. `python -m benches.locks.bugs` runs all of them again and writes this page.
"""


def programs() -> dict[Path, list[tuple[str, Program]]]:
    """The forms of each program, as programs with an argument."""
    found: dict[Path, list[tuple[str, Program]]] = defaultdict(list)
    for path in sorted(BUGS.iterdir()):
        if path.suffix not in (".c", ".cc", ".py") or path.name in SHARED:
            continue
        text = path.read_text()
        line = next(line for line in text.splitlines() if re.match(r"[ #*]+(order|hang): ", line))
        for form, verdict, options in re.findall(r"(\w+): (\w+)(?: with (--[^,]*))?", line):
            said = _about(text)
            found[path].append((form, Program(path, verdict, _words(options), said, (form,))))
    return found


def _words(options: str) -> tuple[str, ...]:
    return tuple(options.split())


def _about(text: str) -> str:
    """What the head says below the source and the forms."""
    head = re.sub(r"^[/ #*]+(?:source|order|hang): .*\n", "", text, flags=re.MULTILINE)
    return about("\n" + head)


def source(path: Path) -> str:
    """Where the bug was reported."""
    found = re.search(r"source: (https://\S+)", path.read_text())
    assert found is not None, path
    return found[1]


@contextlib.contextmanager
def _busy(count: int) -> Iterator[None]:
    """Programs that compute as long as this lasts."""
    script = f"import time\nend = time.monotonic() + {BUSY_SECONDS_MAX}\n"
    script += "while time.monotonic() < end: pass"
    running = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def _judge_all(
    found: dict[Path, list[tuple[str, Program]]], times: int, peer_times: int, jobs: int
) -> None:
    def all_forms(path: Path) -> None:
        for form, program in found[path]:
            judge(program, [sys.executable], times, peer_times)
            sys.stderr.write(f"{path.name} {form}: {dict(program.said)}\n")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(all_forms, found))


def _recall_peers(found: dict[Path, list[tuple[str, Program]]]) -> int:
    """Take what the peers said from the latest results; the most runs of a form by a peer."""
    path = max(RESULTS.glob("*-locks-bugs.json"))
    recorded = json.loads(path.read_text())["programs"]
    most = 0
    for program_path, of_path in found.items():
        for form, program in of_path:
            said = recorded.get(f"{program_path.name} {form}", {"said": {}})["said"]
            for name in {peer.name for peer in PEERS} & set(said):
                program.said[name] = Counter(said[name])
                most = max(most, program.said[name].total())
    return most


@dataclass
class Rounds:
    """What was run.

    Attributes:
        busy: Programs that compute without end, in a loaded round.
        peer_times: Runs of each form by each peer.
        loads: For each round, whether it is loaded, and the machine's load at its end.
    """

    busy: int
    peer_times: int
    loads: list[tuple[bool, float]] = field(default_factory=list)

    def in_words(self) -> str:
        loaded = sum(is_loaded for is_loaded, _ in self.loads)
        beside = f", {loaded} of them beside {self.busy} busy loops" if self.busy else ""
        averages = [average for _, average in self.loads]
        return (
            f" Vespiary ran each form {len(self.loads)} times{beside}; the load of the machine was"
            f" {min(averages):.0f} to {max(averages):.0f} on {os.cpu_count()} cores. The peers ran"
            f" each form {self.peer_times} times ({HANGS_MAX} times where it hung)."
        )


def _page(found: dict[Path, list[tuple[str, Program]]], rounds: Rounds) -> str:
    forms = [program for of_path in found.values() for _, program in of_path]
    native = [program for program in forms if program.path.suffix != ".py"]
    lines = [INTRODUCTION, READING]
    told = ", ".join(f"{name} {version}" for name, version in versions.found().items())
    lines += [
        f"{time.strftime('%Y-%m-%d')}; {told}. {len(found)} programs in {len(forms)} forms."
        + rounds.in_words(),
        "",
        "## C and C++",
        "",
    ]
    names = [VESPIARY.name, *(detector.name for detector in PEERS)]
    lines += table(
        ["program", "form", "what it does", "expected", *names], _rows(found, names, True)
    )
    ours = sum(all(is_ours_right(it, what) for what in it.said[VESPIARY.name]) for it in native)
    lines += [
        f"Right: Vespiary {ours} of {len(native)}, "
        + ", ".join(f"{detector.name} {score(native, detector.name)}" for detector in PEERS)
        + ".",
        "",
        "## Python",
        "",
        "The peers do not see Python's locks.",
        "",
    ]
    names = sorted({name for it in forms if it.path.suffix == ".py" for name in it.said})
    lines += table(
        ["program", "form", "what it does", "expected", *names], _rows(found, names, False)
    )
    return "\n".join(lines).rstrip() + "\n"


def _rows(
    found: dict[Path, list[tuple[str, Program]]], names: Sequence[str], is_native: bool
) -> list[list[str]]:
    return [
        [
            f"[{path.stem}]({source(path)})" if is_first else "",
            form,
            program.about if is_first else "",
            program.expected,
            *(cell(program, name) for name in names),
        ]
        for path, of_path in found.items()
        if (path.suffix != ".py") == is_native
        for is_first, (form, program) in zip((True, False, False), of_path, strict=False)
    ]


def _write(found: dict[Path, list[tuple[str, Program]]], rounds: Rounds) -> None:
    """The page and the counts."""
    PAGE.write_text(_page(found, rounds))
    document = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": machine.describe(),
        "versions": versions.found(),
        "rounds": asdict(rounds),
        "programs": {
            f"{program.path.name} {form}": {"expected": program.expected, "said": program.said}
            for of_path in found.values()
            for form, program in of_path
        },
    }
    path = RESULTS / f"{time.strftime('%Y-%m-%d')}-locks-bugs.json"
    path.write_text(json.dumps(document, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.locks.bugs", description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="runs of Vespiary, twice (5)")
    parser.add_argument("--peer-times", type=int, default=3, help="runs of each peer (3)")
    parser.add_argument(
        "--recorded-peers", action="store_true", help="the peers' verdicts of the latest results"
    )
    parser.add_argument(
        "--busy", type=int, default=BUSY, help=f"busy loops beside the second half ({BUSY})"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at the same time")
    parser.add_argument("--only", default="", help="programs whose name holds this text")
    return parser.parse_args()


def main() -> int:
    """Run all programs; 1 when Vespiary was wrong about one."""
    given = _arguments()
    found = {path: forms for path, forms in programs().items() if given.only in path.name}
    # What the programs of Python's and native locks load, and where they find its module.
    os.environ["NATIVE"] = str(BARE.build(PROGRAMS / "native.c", "-shared", "-fPIC"))
    os.environ["PYTHONPATH"] = str(PROGRAMS)
    rounds = Rounds(given.busy, given.peer_times)
    if given.recorded_peers:
        given.peer_times, rounds.peer_times = 0, _recall_peers(found)
    for number in range(2 * given.times):
        is_loaded = number >= given.times
        with _busy(given.busy if is_loaded else 0):
            _judge_all(found, 1, 0 if number else given.peer_times, given.jobs)
        rounds.loads.append((is_loaded, os.getloadavg()[0]))
        if not given.only:
            # After each round: the whole takes long.
            _write(found, rounds)
    forms = [(form, program) for of_path in found.values() for form, program in of_path]
    runs = wrong = 0
    for form, program in forms:
        for name, said in program.said.items():
            if name.startswith(VESPIARY.name):
                runs += said.total()
                for what, count in said.items():
                    if not is_ours_right(program, what):
                        wrong += count
                        text = f"{program.path.name} {form}: {what}, not {program.expected}"
                        sys.stderr.write(f"{text} ({count} of {said.total()} times)\n")
    print(f"{len(found)} programs, {len(forms)} forms, {runs} runs of Vespiary, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
