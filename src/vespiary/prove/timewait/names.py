"""Names and network namespaces of processes that may have ended since.

They are kept up to date by what the kernel reports: a child has its parent's name until it executes
a program. What was running before is asked of `/proc`, once.
"""

from pathlib import Path

from vespiary.prove.timewait.processes import name_of, pids

__all__ = ["Names"]

_KEPT_MAX = 65_536
"""So many names are kept; there are more only where ends of processes were lost."""


class Names:
    """What is known of processes, by their numbers."""

    def __init__(self) -> None:
        self._names = {pid: name for pid in pids() if (name := name_of(pid)) is not None}
        self._namespaces: dict[int, int | None] = {}
        self._ended: list[int] = []

    def begin(self) -> None:
        """Begin with newer records: what had ended before them has nothing more to report."""
        for pid in self._ended:
            self._names.pop(pid, None)
            self._namespaces.pop(pid, None)
        self._ended = []
        if len(self._names) > _KEPT_MAX:
            self._names.clear()
            self._namespaces.clear()

    def executed(self, pid: int, name: str) -> None:
        """A process executes a program, or gives itself a name."""
        self._names[pid] = name
        self._namespaces.pop(pid, None)

    def forked(self, pid: int, parent: int) -> None:
        """A process made another one."""
        self._names[pid], self._namespaces[pid] = self.of(parent)

    def ended(self, pid: int) -> None:
        """A process ended; its last closes may still come."""
        self._ended.append(pid)

    def of(self, pid: int) -> tuple[str, int | None]:
        """The name of a process, `?` if that is not known, and its network namespace's inode."""
        name = self._names.get(pid)
        if name is None:
            name = self._names[pid] = name_of(pid) or "?"
        if pid not in self._namespaces:
            self._namespaces[pid] = _namespace_of(pid)
        return name, self._namespaces[pid]


def _namespace_of(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None
