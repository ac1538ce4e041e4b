"""The files of known findings: suppressions, which are read, and a baseline."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from vespiary import _toml as toml
from vespiary.errors import ConfigurationError
from vespiary.prove.locks.findings import Finding, Kind
from vespiary.prove.locks.known import Suppression

__all__ = ["baseline_text", "read_baseline", "read_suppressions"]

_KEYS = {"reason", "kind", "signature", "stack", "made"}


def read_suppressions(path: Path) -> list[Suppression]:
    """Read a file of `[[suppress]]` tables.

    Raises:
        ConfigurationError: it cannot be read, or an entry is wrong; the text says which and how.
    """
    try:
        text = path.read_text()
        document = toml.loads(text)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error.strerror}", subject=str(path)
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: is not valid TOML: {error}", subject=str(path)) from None
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
        raise wrong("`reason` is missing: it says why these findings are acceptable")
    if not any(entry.get(key) for key in ("signature", "stack", "made")):
        raise wrong("add `signature`, `stack` or `made`, to say which findings it is for")
    kinds = get_args(Kind)
    if entry.get("kind") not in (None, *kinds):
        raise wrong(f"kind {entry['kind']!r} is unknown; there are {', '.join(kinds)}")
    signature = entry.get("signature")
    if signature is not None and not re.fullmatch("[0-9a-f]{16}", str(signature)):
        raise wrong("a signature has 16 hexadecimal digits, as the report prints it")
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


def baseline_text(findings: Iterable[Finding]) -> str:
    """The signatures of findings, one per line."""
    told = {finding.signature: finding.sets for finding in findings if finding.is_told}
    return json.dumps({"signatures": dict(sorted(told.items()))}, indent=1) + "\n"
