"""Are the sentences of two revisions paired rightly? `python -m benches.trace.pairing OLD NEW`.

`vespiary trace extract --old` pairs sentences by difflib over their words. The judge here has
another measure, of its own: the cosine between two sentences' counts of three letters in a row. A
pair is doubtful if it is less alike than `ALIKE`, or if another sentence that was left over is much
more so. A pair is missed if both its sentences were left over and are nearly equal.

With `--show` the doubtful ones are printed with their sentences, for a person to read.
"""

import argparse
import math
from collections import Counter
from functools import cache
from pathlib import Path

from vespiary.prove.trace.catalogue import Requirement
from vespiary.prove.trace.normative import Sentence, read
from vespiary.prove.trace.revise import Revision, compare

ALIKE = 0.5
BETTER = 0.15
NEARLY_EQUAL = 0.8


@cache
def threes(text: str) -> Counter[str]:
    plain = "".join(c if c.isalnum() else " " for c in text.lower())
    plain = f" {' '.join(plain.split())} "
    return Counter(plain[place : place + 3] for place in range(len(plain) - 2))


@cache
def likeness(one: str, other: str) -> float:
    a, b = threes(one), threes(other)
    product = sum(count * b[three] for three, count in a.items())
    return product / math.sqrt(
        sum(count * count for count in a.values()) * sum(count * count for count in b.values())
    )


def revised(old: list[Sentence], new: list[Sentence]) -> Revision:
    known = [Requirement(id=one.id, specification="x", hash=one.hash) for one in old]
    return compare(known, new, old)


def judged(revision: Revision) -> tuple[list[str], list[str]]:
    """The pairs that are doubtful, and those that were missed, each a line for the eye."""
    wrong = []
    for requirement, sentence in revision.changed:
        was = revision.words[requirement.hash]
        rating = likeness(was, sentence.text)
        best = max((likeness(was, one.text) for one in revision.new), default=0)
        if rating < ALIKE or best > rating + BETTER:
            wrong.append(
                f"{rating:.2f} (best {best:.2f}) {requirement.id} -> {sentence.id}\n"
                f"  - {was}\n  + {sentence.text}"
            )
    missed = []
    for requirement in revision.vanished:
        was = revision.words[requirement.hash]
        best_one = max(revision.new, key=lambda one: likeness(was, one.text), default=None)
        if best_one and likeness(was, best_one.text) >= NEARLY_EQUAL:
            missed.append(
                f"{likeness(was, best_one.text):.2f} {requirement.id} -> {best_one.id}\n"
                f"  - {was}\n  + {best_one.text}"
            )
    return wrong, missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--show", action="store_true")
    asked = parser.parse_args()
    old, new = (
        read(path.read_text("utf-8", errors="replace"), "x") for path in (asked.old, asked.new)
    )
    revision = revised(old, new)
    wrong, missed = judged(revision)
    pairs, changed = len(revision.pairs), len(revision.changed)
    print(
        f"{asked.old.stem} -> {asked.new.stem}: {pairs} pairs, {changed} of them with other words;"
        f" {len(wrong)} doubtful ({len(wrong) / max(1, pairs):.1%} of all,"
        f" {len(wrong) / max(1, changed):.1%} of those); {len(missed)} missed;"
        f" {len(revision.new)} new, {len(revision.vanished)} vanished"
    )
    if asked.show:
        print("\n".join(["doubtful:", *wrong, "missed:", *missed]))


if __name__ == "__main__":
    main()
