"""What all methods of enforcing a limit have in common."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from vespiary.prove.memory.kept import Place
from vespiary.prove.memory.processes import Memory

__all__ = ["LOOK_SECONDS", "Limiter", "NotPossible", "Reading"]

LOOK_SECONDS = 0.02
"""Between two looks at a program's memory, at most."""


class NotPossible(Exception):
    """A limit cannot be held in this way here; the text says why."""


class Reading(NamedTuple):
    """The memory of a program with all its processes at one moment.

    Attributes:
        memory: By kind.
        kernel: Bytes that the kernel holds for it, such as page tables and socket buffers; 0
            where that is not known.
        mark: The most that the kernel has counted so far, cache and its own included; None where it
            does not say.
    """

    memory: Memory
    kernel: int
    mark: int | None


class Limiter(Protocol):
    """Holds a limit over a program with all its processes.

    Attributes:
        method: Its name.
        place: Where the program is started.
    """

    method: str
    place: Place

    def begun(self, pid: int, keeper: int) -> None:
        """The program was started, below its keeper.

        Raises:
            NotPossible: it is not where the limit is held.
        """

    def pause(self) -> float:
        """How many seconds to wait until the next look."""

    def watched(self) -> tuple[int, int] | None:
        """A descriptor that wakes when the limit is reached, and what to poll it for."""

    def is_over(self) -> bool:
        """Whether the limit was exceeded."""

    def look(self) -> Reading:
        """The memory now."""

    def processes(self) -> dict[int, Memory]:
        """The memory of each process that there is."""

    def known(self) -> dict[int, Memory]:
        """The memory of each process, as far as it is known without another look."""

    def statistics(self) -> tuple[dict[str, int], dict[str, float]]:
        """The numbers of `memory.stat` now, and the pressure in percent; empty where unknown."""

    def details(self) -> dict[str, object]:
        """More that is known, as JSON."""

    def close(self) -> None:
        """Release what it holds."""
