"""Is a record about these sources, and where do its marks are in them now?

Lines move with every edit. So a mark of the record is found again by its identifier, its file, its
function, and the digest of that function's code, whatever its line. What is not found again has
changed since it was proven, and the record says nothing about it. An identifier that the record has
never seen is not changed, but unproven.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from vespiary.prove.trace.proving.record import Record, Source

__all__ = ["Changed", "Sameness", "merged", "moved", "prove_again"]

_ONLY_MAX = 5


def prove_again(identifiers: Iterable[str]) -> str:
    """Return the command that proves some requirements again, or all if there are many."""
    ids = sorted(set(identifiers))
    only = "".join(f" --only {name}" for name in ids) if len(ids) <= _ONLY_MAX else ""
    return f"run vespiary trace prove{only}"


@dataclass(frozen=True, slots=True)
class Changed:
    """A mark or claim that is not what it was when its identifier was proven.

    Attributes:
        source: As it is now, or as it was if it is gone; of the kind `sentence`, a requirement.
        gone: Whether nothing of that name is left in the file.
        nowhere: Whether no source has the identifier any more.
    """

    source: Source
    gone: bool = False
    nowhere: bool = False

    @property
    def words(self) -> str:
        """One sentence on it."""
        name = self.source.id
        if self.source.kind == "sentence":
            return (
                f"the sentence of {name} has changed since it was proven: check that its marks and"
                f" claims still fit, and {prove_again([name])}"
            )
        what = f"the mark of {name}" if self.source.kind == "mark" else f"the claim of {name}"
        where = f" in {self.source.function}" if self.source.function else ""
        happened = "has gone" if self.gone else "has changed"
        again = prove_again([] if self.nowhere else [name])
        return f"{what}{where} {happened} since it was proven: {again}"


@dataclass(slots=True)
class Sameness:
    """What a record's sites are called in the sources now.

    Attributes:
        places: By site and identifier: the site now.
        changed: What was not found again.
    """

    places: dict[tuple[str, str], str] = field(default_factory=dict)
    changed: list[Changed] = field(default_factory=list)

    @classmethod
    def of(cls, then: Iterable[Source], now: Iterable[Source]) -> "Sameness":
        """Compare the sources of a record with what a scan has found."""
        found = cls()
        old, new = _by_identifier(then), _by_identifier(now)
        for name in old:
            found._compare(old[name], new.get(name, []))
        return found

    def _compare(self, then: list[Source], now: list[Source]) -> None:
        """Find the sources of one identifier again."""
        old, new = _grouped(then), _grouped(now)
        lost: list[Source] = []
        for key, sources in old.items():
            again = new.get(key, [])
            for source, other in zip(sources, again, strict=False):
                self.places[source.site, source.id] = other.site
            lost += sources[len(again) :]
            new[key] = again[len(sources) :]
        left = [source for sources in new.values() for source in sources]
        self.changed += [Changed(source) for source in left]
        # What has changed was reported where it stands now.
        functions = [_function_of(source) for source in left]
        for source in lost:
            if _function_of(source) in functions:
                functions.remove(_function_of(source))
            else:
                self.changed.append(Changed(source, gone=True, nowhere=not now))


def _function_of(source: Source) -> tuple[str, str, str]:
    return source.kind, source.file, source.function


def _by_identifier(sources: Iterable[Source]) -> dict[str, list[Source]]:
    found: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        found[source.id].append(source)
    return found


def _grouped(sources: Iterable[Source]) -> dict[tuple[str, ...], list[Source]]:
    """By all that makes a source the same one; several of a function in their order."""
    found: dict[tuple[str, ...], list[Source]] = defaultdict(list)
    for source in sorted(sources, key=lambda source: source.line):
        found[source.kind, source.file, source.function, source.digest].append(source)
    return found


def moved(record: Record, now: Iterable[Source]) -> tuple[Record, list[Changed]]:
    """The record with the sites of today, and what has changed since."""
    every = list(now)
    same = Sameness.of(record.sources, every)
    anywhere: dict[str, set[str]] = defaultdict(set)
    for (site, _), place in same.places.items():
        anywhere[site].add(place)

    def everywhere(sites: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({place for site in sites for place in anywhere.get(site, {site})}))

    def place_of(site: str, name: str) -> str:
        return same.places.get((site, name), site)

    lines = {source.site: source for source in every}
    return replace(
        record,
        marks=[
            replace(mark, site=site, line=lines[site].line if site in lines else mark.line)
            for mark in record.marks
            for site in [place_of(mark.site, mark.ids[0])]
        ],
        tests=[
            replace(test, reached=everywhere(test.reached), acted=everywhere(test.acted))
            for test in record.tests
        ],
        proofs=[
            replace(
                proof,
                site=place_of(proof.site, proof.id),
                together=everywhere(proof.together),
            )
            for proof in record.proofs
        ],
        sources=[
            replace(source, line=int(place_of(source.site, source.id).rpartition(":")[2]))
            for source in record.sources
        ],
        constant=list(everywhere(tuple(record.constant))),
    ), same.changed


def merged(old: Record, new: Record, names: Iterable[str]) -> Record:
    """An old record in which some identifiers were proven again.

    Args:
        old: With the sites of today.
        new: A record of these identifiers alone.
        names: The identifiers.
    """
    renewed = set(names)
    rerun = {test.id for test in new.tests}
    dropped = {test.id for test in old.tests if not renewed.isdisjoint(test.claims)} | rerun
    sites = {mark.site for mark in new.marks}

    return Record(
        marks=[*(mark for mark in old.marks if renewed.isdisjoint(mark.ids)), *new.marks],
        tests=sorted(
            [*(test for test in old.tests if test.id not in dropped), *new.tests],
            key=lambda test: test.id,
        ),
        proofs=sorted(
            [*(proof for proof in old.proofs if proof.id not in renewed), *new.proofs],
            key=lambda proof: (proof.site, proof.id),
        ),
        claims=sorted(
            [*(claim for claim in old.claims if claim.id not in renewed), *new.claims],
            key=lambda claim: (claim.claimant, claim.id),
        ),
        sources=[*(source for source in old.sources if source.id not in renewed), *new.sources],
        sentences={**old.sentences, **new.sentences},
        unstable=sorted({*old.unstable} - rerun | {*new.unstable}),
        silent=sorted({*old.silent} - {test.claimant for test in new.tests} | {*new.silent}),
        constant=sorted({*old.constant} - sites | {*new.constant}),
        warnings=list(dict.fromkeys([*old.warnings, *new.warnings])),
    )
