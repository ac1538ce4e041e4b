"""Header fields, as a request and a response have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Headers", "Lines"]


class Lines(Mapping[str, str]):
    """Names and values in their order, where a name may stand more than once."""

    __slots__ = ("_found", "_lines")

    def __init__(self, lines: Iterable[tuple[str, str]] = ()) -> None:
        self._lines = tuple(lines)
        self._found: dict[str, list[str]] | None = None

    def _values(self) -> dict[str, list[str]]:
        """Return all values by name; made once, so that reading every name is linear work."""
        if self._found is None:
            self._found = {}
            for name, value in self._lines:
                self._found.setdefault(self._key(name), []).append(value)
        return self._found

    @staticmethod
    def _key(name: str) -> str:
        """What two equal names have in common."""
        return name

    def get_all(self, name: str) -> list[str]:
        """Return every value of a name, in order."""
        return list(self._values().get(self._key(name), ()))

    def __getitem__(self, name: str) -> str:
        values = self._values().get(self._key(name))
        if not values:
            raise KeyError(name)
        return values[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """Names and values as they were sent."""
        return self._lines

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._lines)!r})"


class Headers(Lines):
    """Header fields, found by name without regard to case; of a repeated one, the first.

    `get_all` gives every value of a name; `lines` every field in its order.
    """

    __slots__ = ()

    @staticmethod
    def _key(name: str) -> str:
        return name.lower()
