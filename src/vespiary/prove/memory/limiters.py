"""How the limit is enforced: the best method that this machine allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vespiary.errors import ConfigurationError
from vespiary.prove.memory.groups import Scope, Version1, Version2
from vespiary.prove.memory.reading import Limiter, NotPossible
from vespiary.prove.memory.sampling import Sampling

__all__ = ["METHODS", "Chosen", "choose"]

_LIMITERS: dict[str, Callable[[int | None], Limiter]] = {
    "cgroup-v2": Version2,
    "cgroup-v1": Version1,
    "systemd": Scope,
    "sampling": Sampling,
}
"""The best first."""

METHODS = tuple(_LIMITERS)


@dataclass(frozen=True)
class Chosen:
    """Who was chosen, and why no better one.

    Attributes:
        limiter: The method that enforces the limit.
        refusals: Why each better one could not, by its name.
    """

    limiter: Limiter
    refusals: dict[str, str]


def choose(limit: int | None, method: str | None = None) -> Chosen:
    """Find who can hold a limit of so many bytes, or only record with None.

    Raises:
        ConfigurationError: the method that was asked for is not possible here.
    """
    if method is not None:
        try:
            return Chosen(_LIMITERS[method](limit), {})
        except NotPossible as error:
            raise ConfigurationError(
                f"{method} is not possible here: {error}; without --method, the best possible "
                "method is used",
                subject="method",
            ) from error
    refusals: dict[str, str] = {}
    for name, limiter in _LIMITERS.items():
        try:
            return Chosen(limiter(limit), refusals)
        except NotPossible as error:
            refusals[name] = str(error)
    raise AssertionError("sampling is always possible")
