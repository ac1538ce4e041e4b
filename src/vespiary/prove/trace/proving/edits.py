"""Sources that change while their tests run: what was found of them is of no version.

The sources are read when a run begins, each new process of the tests imports them as they are then,
and the run may take minutes. So all are hashed at the beginning and at the end. If someone undoes
an edit meanwhile, the bytes are the same, but the time of modification is another: in a file with
marks or claims, that counts too. Rust is compiled once. What is edited after that is not what
ran, and the evidence says nothing about it.

What was proven of a changed file is not kept. Of the sources of its identifiers the evidence has no
digest, so that they count as changed whatever the sources are later. A file without marks may be
one that every test imports: then nothing of its language is kept.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from vespiary._counted import counted
from vespiary.prove.trace.proving.record import Record, Source
from vespiary.prove.trace.proving.sameness import prove_again
from vespiary.prove.trace.seen import sources_again
from vespiary.prove.trace.settings import Settings

__all__ = ["Edits"]

_FEW = 5
_State = tuple[str, int]
"""The hash of a file, and when it was modified, in nanoseconds."""


@dataclass(slots=True)
class Edits:
    """The states of a project's sources during a run.

    Attributes:
        settings: The project's.
        begun: The states when the run began.
        built: The same when Rust was compiled; empty if it is not.
    """

    settings: Settings
    begun: dict[Path, _State]
    built: dict[Path, _State] = field(default_factory=dict)

    @classmethod
    def begin(cls, settings: Settings) -> "Edits":
        """Note the states, before the sources are read."""
        return cls(settings, _states(settings))

    def build(self) -> None:
        """Note the states again: after the compiler has read them."""
        self.built = _states(self.settings)

    def kept(self, record: Record) -> tuple[Record, list[str]]:
        """The part of a record that is about the sources as they are, and a sentence on the rest.

        Args:
            record: Of a run that has just ended.
        """
        now = _states(self.settings)
        rust = {path: state for path, state in (self.built or now).items() if _is_rust(path)}
        ran = {path: state for path, state in now.items() if not _is_rust(path)} | rust
        marked = {self.settings.root / source.file for source in record.sources}
        changed = {path for path in self.begun if _differs(self.begun, ran, path, path in marked)}
        changed |= self._seen_by_run(record)
        lost = self._concerned(record, changed)
        words = []
        if changed:
            words.append(_said(self.settings.root, changed, lost))
        later = {path for path in rust if _differs(rust, now, path, False)} - changed
        if later:
            words.append(
                f"{_names(self.settings.root, later)} changed after the build: the evidence is"
                " about the code before: run vespiary trace prove again"
            )
        return (_without(record, lost) if lost else record), words

    def _seen_by_run(self, record: Record) -> set[Path]:
        """The files of marks and claims that only the run has seen, and that have changed."""
        root = self.settings.root
        then = [source for source in record.sources if source.by_run]
        again = set(sources_again(root, then, []))
        return {root / source.file for source in then if source not in again}

    def _concerned(self, record: Record, changed: Iterable[Path]) -> set[str]:
        """The identifiers of which nothing is known because these files have changed."""
        root = self.settings.root
        lost: set[str] = set()
        for path in changed:
            here = {one.id for one in record.sources if root / one.file == path}
            alike = [one for one in record.sources if _is_rust(Path(one.file)) == _is_rust(path)]
            lost |= here or {one.id for one in alike}
        return lost


def _is_rust(path: Path) -> bool:
    return path.suffix == ".rs"


def _states(settings: Settings) -> dict[Path, _State]:
    """The states of all sources, and of each `conftest.py` next to them."""
    paths = settings.files((*settings.rust, *settings.python))
    folders = {folder for path in paths if path.suffix == ".py" for folder in path.parents
               if folder.is_relative_to(settings.root)}  # fmt: skip
    states = {}
    for path in {*paths, *(folder / "conftest.py" for folder in folders)}:
        try:
            states[path] = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns
        except OSError:
            continue
    return states


def _differs(
    then: Mapping[Path, _State], now: Mapping[Path, _State], path: Path, is_exact: bool
) -> bool:
    """Whether a file has other bytes or is gone; if exact, also whether it was written again."""
    if path not in now:
        return True
    return then[path] != now[path] if is_exact else then[path][0] != now[path][0]


def _without(record: Record, lost: set[str]) -> Record:
    """The record without all that was found of some identifiers."""

    def unknown(source: Source) -> Source:
        return replace(source, digest="") if source.id in lost else source

    return replace(
        record,
        proofs=[proof for proof in record.proofs if proof.id not in lost],
        claims=[claim for claim in record.claims if claim.id not in lost],
        sources=[unknown(source) for source in record.sources],
    )


def _said(root: Path, changed: set[Path], lost: set[str]) -> str:
    return (
        f"{_names(root, changed)} changed while the tests ran, so the evidence of"
        f" {counted(len(lost), 'requirement')} was not written: {prove_again(lost)}"
    )


def _names(root: Path, paths: Iterable[Path]) -> str:
    names = sorted(str(path.relative_to(root) if path.is_relative_to(root) else path)
                   for path in paths)  # fmt: skip
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more
