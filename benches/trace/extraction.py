"""How much of a specification extraction finds, and how much of what it finds is right.

    python -m benches.trace.extraction FOLDER --duvet .cache/duvet > results.md

FOLDER has RFCs as they were published (`*.txt`) and specifications in Markdown (`*.md`). Each is
read by `vespiary trace extract`, by duvet, and by `truth`, which has nothing of either. `--duvet`
names the folder into which cargo installs it; without the option its columns are empty.

* recall: of the key words that `truth` finds, the part in sentences extracted from their section;
* precision: of the sentences extracted, the part whose every key word `truth` has in that section;
* whole: of the sentences extracted, the part that begins and ends where a sentence of `truth` does.

`read.json` has what reading 100 random sentences of each specification has shown, by the hashes of
the sentences. A sentence that is extracted otherwise has another hash, and counts as unread.
`--read SPEC` prints the sentences that were drawn, `--differ SPEC` those in which the two differ.
"""

import argparse
import json
import random
import subprocess
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benches.trace.truth import Demand, demands, key_words, words
from vespiary.prove.trace.normative import Sentence, read

READ = Path(__file__).with_name("read.json")
SAMPLE = 100
SEED = 11
DUVET_VERSION = "0.4.3"


@dataclass(frozen=True)
class Found:
    """A sentence that a tool has extracted."""

    section: str
    text: str


@dataclass(frozen=True)
class Score:
    """What one tool found in one specification."""

    recall: float
    precision: float
    whole: float
    count: int
    differences: list[str]

    def cells(self) -> str:
        return f"{self.count} | {self.recall:.1%} | {self.precision:.1%} | {self.whole:.1%}"


def ours(path: Path) -> list[Sentence]:
    return read(path.read_text("utf-8", errors="replace"), path.stem)


def installed(folder: Path) -> Path:
    """The program of duvet; cargo builds it where it is not there yet."""
    subprocess.run(
        ["cargo", "install", "--locked", "--root", str(folder), f"duvet@{DUVET_VERSION}"],
        check=True,
    )
    return folder.resolve() / "bin" / "duvet"


def duvets(path: Path, duvet: Path) -> list[Found]:
    """What duvet extracts: a sentence with two key words is written twice, and counted once."""
    with tempfile.TemporaryDirectory() as folder:
        form = "markdown" if path.suffix == ".md" else "ietf"
        subprocess.run(
            [duvet, "extract", str(path.resolve()), "--format", form, "--out", folder],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        found: dict[Found, None] = {}
        for file in sorted(Path(folder).rglob("*.toml")):
            data = tomllib.loads(file.read_text())
            section = data["target"].rpartition("#")[2]
            for spec in data.get("spec", []):
                found[Found(section, " ".join(spec["quote"].split()))] = None
    return list(found)


def same_section(section: str) -> str:
    """`section-3.2`, `appendix-A` and `3-2-headers` as one writes them without a prefix."""
    plain = section.removeprefix("section-").removeprefix("appendix-").lower()
    return "-".join(words(plain))


def score(truth: Iterable[Demand], found: Iterable[Found]) -> Score:
    wanted = Counter((same_section(one.section), one.near) for one in truth)
    sentences = {(same_section(one.section), one.sentence) for one in truth}
    left = Counter(wanted)
    missing: list[str] = []
    right = whole = count = 0
    for one in found:
        section, nears = same_section(one.section), key_words(one.text)
        taken = [_take(wanted, left, section, near) for near in nears]
        count += 1
        right += bool(nears) and all(taken)
        whole += (section, words(one.text)) in sentences or _is_named(section, one.text, sentences)
        if not all(taken) or not nears:
            missing.append(f"extra  {one.section}: {one.text}")
    for (section, near), number in left.items():
        missing += [f"missed {section}: {' '.join(near)}"] * number
    total = sum(wanted.values())
    recalled = total - sum(left.values())
    return Score(
        recalled / max(1, total), right / max(1, count), whole / max(1, count), count, missing
    )


def _is_named(section: str, text: str, sentences: set[tuple[str, tuple[str, ...]]]) -> bool:
    """Whether it is a key word alone, before which stands what it is of."""
    return (section, words(text.rpartition(": ")[2])) in sentences and text.rstrip(".").isascii()


def _take(
    wanted: Counter[tuple[str, tuple[str, ...]]],
    left: Counter[tuple[str, tuple[str, ...]]],
    section: str,
    near: tuple[str, ...],
) -> bool:
    """Count a demand as found; at a sentence's ends one of the two may know fewer words."""
    for key in _alike(wanted, section, near):
        if left[key] > 0:
            left[key] -= 1
            return True
    return bool(_alike(wanted, section, near))


def _alike(
    wanted: Counter[tuple[str, tuple[str, ...]]], section: str, near: tuple[str, ...]
) -> list[tuple[str, tuple[str, ...]]]:
    if (section, near) in wanted:
        return [(section, near)]
    return [
        key
        for key in wanted
        if key[0] == section and (_part_of(key[1], near) or _part_of(near, key[1]))
    ]


def _part_of(short: tuple[str, ...], long: tuple[str, ...]) -> bool:
    """Whether some words stand in others, one after the other."""
    places = range(len(long) - len(short) + 1)
    return any(long[place : place + len(short)] == short for place in places)


def drawn(path: Path) -> list[Sentence]:
    """The random sentences that are read."""
    sentences = ours(path)
    generator = random.Random(f"{SEED} {path.stem}")
    return generator.sample(sentences, min(SAMPLE, len(sentences)))


def reading(path: Path) -> str:
    """How many of the sentences read are right, of how many; the rest was not read."""
    known = json.loads(READ.read_text()) if READ.exists() else {}
    verdicts = known.get(path.stem, {})
    told = [verdicts.get(sentence.hash) for sentence in drawn(path)]
    right, count = told.count("right"), len(told) - told.count(None)
    unread = f", {told.count(None)} unread" if None in told else ""
    return f"{right} of {count}{unread}"


def differing(path: Path) -> None:
    """Print what only one of the two has, and sentences that end elsewhere."""
    truth = demands(path.read_text("utf-8", errors="replace"), markdown=path.suffix == ".md")
    sentences = ours(path)
    print("\n".join(score(truth, [Found(_section(s), s.text) for s in sentences]).differences))
    whole = {(same_section(one.section), one.sentence) for one in truth}
    for sentence in sentences:
        if (same_section(_section(sentence)), words(sentence.text)) not in whole:
            print(f"ends   {sentence.id}: {sentence.text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--duvet", metavar="FOLDER", type=Path, help="Compare with duvet, which is"
                        " installed into this folder.")  # fmt: skip
    parser.add_argument("--read", metavar="SPEC")
    parser.add_argument("--differ", metavar="SPEC")
    asked = parser.parse_args()
    paths = sorted(path for path in asked.folder.iterdir() if path.suffix in (".txt", ".md"))
    for path in paths:
        if path.stem == asked.differ:
            differing(path)
        if path.stem == asked.read:
            for sentence in drawn(path):
                print(f"{sentence.hash} {sentence.id} [{sentence.level}] {sentence.text}")
    if asked.differ or asked.read:
        return
    duvet = installed(asked.duvet) if asked.duvet else None
    titles = "sentences | recall | precision | whole"
    print(f"| | ours: {titles} | read | duvet: {titles} |")
    print("|---|" + "---:|" * 9)
    for path in paths:
        truth = demands(path.read_text("utf-8", errors="replace"), markdown=path.suffix == ".md")
        own = score(truth, [Found(_section(s), s.text) for s in ours(path)])
        other = score(truth, duvets(path, duvet)).cells() if duvet else "| | | "
        print(f"| {path.stem} | {own.cells()} | {reading(path)} | {other} |", flush=True)


def _section(sentence: Sentence) -> str:
    return sentence.id.split("/")[1] if "/" in sentence.id else ""


if __name__ == "__main__":
    main()
