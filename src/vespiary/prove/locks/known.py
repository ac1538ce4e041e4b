"""Findings that are known already: suppressions, written by a person, and a baseline, by the tool.

A suppression names what may be, with a reason; one that meets nothing is told, so that the file
does not outlive what it is for. A baseline holds the signatures of what was there when the tool was
taken up: only what is new fails a build.
"""

from __future__ import annotations

import fnmatch
import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vespiary.errors import ConfigurationError
from vespiary.prove.locks.findings import Finding

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

    Errors:
        ConfigurationError: it cannot be read, or an entry is wrong; the text says which and how.
    """
    try:
        entries = tomllib.loads(path.read_text()).pop("suppress", [])
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error.strerror}", subject=str(path)
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: {error}", subject=str(path)) from error
    return [
        _suppression(entry, f"{path}, entry {number}") for number, entry in enumerate(entries, 1)
    ]


def _suppression(entry: dict[str, Any], place: str) -> Suppression:
    unknown = set(entry) - _KEYS
    if unknown:
        names = ", ".join(sorted(unknown))
        raise ConfigurationError(
            f"{place}: {names} is unknown; there are {', '.join(sorted(_KEYS))}", subject=place
        )
    if not entry.get("reason"):
        raise ConfigurationError(f"{place}: say in `reason` why this may be", subject=place)
    if not any(entry.get(key) for key in ("signature", "stack", "made")):
        raise ConfigurationError(
            f"{place}: name what is meant by `signature`, `stack` or `made`", subject=place
        )
    patterns = {}
    for key in ("stack", "made"):
        value = entry.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ConfigurationError(f"{place}: {key} is a list of patterns", subject=place)
        patterns[key] = tuple(value)
    return Suppression(
        entry["reason"],
        entry.get("kind"),
        entry.get("signature"),
        patterns["stack"],
        patterns["made"],
        place,
    )


def read_baseline(path: Path) -> set[str]:
    """The signatures of a baseline.

    Errors:
        ConfigurationError: it cannot be read, or is none.
    """
    try:
        signatures = json.loads(path.read_text())["signatures"]
        return {str(signature) for signature in signatures}
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error.strerror}; --write-baseline makes one",
            subject=str(path),
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path}: no baseline: an object with a list `signatures`", subject=str(path)
        ) from error


def write_baseline(path: Path, findings: Iterable[Finding]) -> None:
    """Write the signatures of findings, one a line."""
    signatures = sorted({finding.signature for finding in findings if finding.is_told})
    path.write_text(json.dumps({"signatures": signatures}, indent=1) + "\n")


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
        cls, findings: Iterable[Finding], suppressions: list[Suppression], baseline: set[str]
    ) -> Known:
        """Sort findings."""
        known = cls([], [], [], [])
        used: set[str] = set()
        for finding in findings:
            cover = next((each for each in suppressions if each.covers(finding)), None)
            if cover is not None:
                used.add(cover.place)
                known.suppressed.append((finding, cover))
            elif finding.signature in baseline:
                known.baseline.append(finding)
            else:
                known.new.append(finding)
        known.unused = [each for each in suppressions if each.place not in used]
        return known
