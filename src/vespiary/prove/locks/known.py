"""Findings that are known already: suppressions, written by a person, and a baseline, by the tool.

A suppression names what may be, with a reason; one that meets nothing is reported, so that the file
does not outlive what it is for. A baseline holds the signatures of what was there when the tool was
taken up, each with the number of different sets of locks that it was found with: what is new, or is
found with more sets, fails a build.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from vespiary.errors import ConfigurationError
from vespiary.prove.locks.findings import Finding, Kind

__all__ = ["Known", "Suppression", "read_baseline", "read_suppressions", "write_baseline"]

_KEYS = {"reason", "kind", "signature", "stack", "made"}


@dataclass(frozen=True)
class Suppression:
    """What may be.

    Attributes:
        reason: Why; never empty.
        kind: Only findings of this kind; None for any.
        signature: Only this finding.
        stack: Patterns of functions (`module:function`, `file.py:function`, with `*`), each of
            which must be met by some frame of the finding's stacks.
        made: The same for where its locks were made: a class of locks.
        place: The file and the entry in it.
    """

    reason: str
    kind: str | None
    signature: str | None
    stack: tuple[str, ...]
    made: tuple[str, ...]
    place: str

    def covers(self, finding: Finding) -> bool:
        """Whether it is this finding that may be."""
        if self.kind not in (None, finding.kind):
            return False
        if self.signature not in (None, finding.signature):
            return False
        frames = [
            frame.name for step in finding.steps for frame in (*step.taken_at, *step.wanted_at)
        ]
        made = [frame.name for lock in finding.locks for frame in lock.made]
        return all(fnmatch.filter(frames, pattern) for pattern in self.stack) and all(
            fnmatch.filter(made, pattern) for pattern in self.made
        )


def read_suppressions(path: Path) -> list[Suppression]:
    """Read a file of `[[suppress]]` tables.

    Raises:
        ConfigurationError: it cannot be read, or an entry is wrong; the text says which and how.
    """
    try:
        text = path.read_text()
        document = tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error.strerror}", subject=str(path)
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: no TOML: {error}", subject=str(path)) from None
    entries = document.pop("suppress", [])
    if document or not isinstance(entries, list):
        what = ", ".join(sorted(document)) or "[suppress]"
        raise ConfigurationError(
            f"{path}: {what} is unknown: each entry begins with a line [[suppress]]",
            subject=str(path),
        )
    lines = [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if re.match(r"\s*\[\[\s*suppress\s*\]\]", line)
    ]
    places = [f"{path}:{line}" for line in lines]
    if len(places) != len(entries):
        # Written as an array of tables in one line.
        places = [f"{path}, entry {number}" for number in range(1, len(entries) + 1)]
    return [_suppression(entry, place) for entry, place in zip(entries, places, strict=True)]


def _suppression(entry: dict[str, Any], place: str) -> Suppression:
    def wrong(text: str) -> ConfigurationError:
        return ConfigurationError(f"{place}: {text}", subject=place)

    for key in sorted(set(entry) - _KEYS):
        near = difflib.get_close_matches(key, _KEYS, n=1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(_KEYS))}"
        raise wrong(f"{key} is unknown; {advice}")
    reason = entry.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise wrong("say in `reason` why this may be")
    if not any(entry.get(key) for key in ("signature", "stack", "made")):
        raise wrong("name what is meant by `signature`, `stack` or `made`")
    kinds = get_args(Kind)
    if entry.get("kind") not in (None, *kinds):
        raise wrong(f"kind {entry['kind']!r} is unknown; there are {', '.join(kinds)}")
    signature = entry.get("signature")
    if signature is not None and not re.fullmatch("[0-9a-f]{16}", str(signature)):
        raise wrong("a signature has 16 hexadecimal digits, as the report tells them")
    patterns = {}
    for key in ("stack", "made"):
        value = entry.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise wrong(f'{key} is a list of patterns such as ["*:function"]')
        patterns[key] = tuple(value)
    return Suppression(
        entry["reason"],
        entry.get("kind"),
        entry.get("signature"),
        patterns["stack"],
        patterns["made"],
        place,
    )


def read_baseline(path: Path) -> dict[str, int]:
    """The signatures of a baseline, each with the number of sets of locks that it had.

    Raises:
        ConfigurationError: it cannot be read, or is not a baseline.
    """
    try:
        signatures = json.loads(path.read_text())["signatures"]
        return {str(signature): int(sets) for signature, sets in signatures.items()}
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error.strerror}; --write-baseline makes one",
            subject=str(path),
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path}: not a baseline: an object with `signatures`, an object of a number of sets of"
            " locks for each; --write-baseline makes one",
            subject=str(path),
        ) from error


def write_baseline(path: Path, findings: Iterable[Finding]) -> None:
    """Write the signatures of findings, one per line."""
    told = {finding.signature: finding.sets for finding in findings if finding.is_told}
    path.write_text(json.dumps({"signatures": dict(sorted(told.items()))}, indent=1) + "\n")


@dataclass
class Known:
    """Findings sorted into new ones and known ones.

    Attributes:
        new: What counts.
        suppressed: What a suppression covers, with it.
        baseline: What was there before.
        unused: Suppressions that met nothing.
    """

    new: list[Finding]
    suppressed: list[tuple[Finding, Suppression]]
    baseline: list[Finding]
    unused: list[Suppression]

    @classmethod
    def sort(
        cls,
        findings: Iterable[Finding],
        suppressions: list[Suppression],
        baseline: Mapping[str, int],
    ) -> Known:
        """Sort findings."""
        known = cls([], [], [], [])
        used: set[str] = set()
        for finding in findings:
            cover = next((each for each in suppressions if each.covers(finding)), None)
            if cover is not None:
                used.add(cover.place)
                known.suppressed.append((finding, cover))
            elif finding.sets <= baseline.get(finding.signature, 0):
                known.baseline.append(finding)
            else:
                known.new.append(finding)
        known.unused = [each for each in suppressions if each.place not in used]
        return known
