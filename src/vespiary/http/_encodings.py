"""`Accept-Encoding`: which content codings a client takes (RFC 9110 section 12.5.3)."""

from __future__ import annotations

import re

from vespiary.http._folder import ENCODINGS

__all__ = ["acceptable"]

_MEMBER = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?", re.A
)
_ALIASES = {"x-gzip": "gzip"}


def acceptable(value: str | None) -> list[str]:
    """Return the codings that may be sent to a client, of those that files may have.

    The client's preferred one is the first. Those that the client likes less than the uncompressed
    file are not among them. A member that is malformed is ignored.
    """
    weights: dict[str, float] = {}
    for member in (value or "").split(","):
        found = _MEMBER.fullmatch(member.strip(" \t"))
        if found is not None:
            name = found[1].lower()
            weights[_ALIASES.get(name, name)] = float(found[2] or 1)
    others = weights.get("*", 0.0)
    known = {name: weights.get(name, others) for name in ENCODINGS}
    least = weights.get("identity", 0.0)
    sendable = [name for name, weight in known.items() if weight > 0 and weight >= least]
    return sorted(sendable, key=lambda name: -known[name])
