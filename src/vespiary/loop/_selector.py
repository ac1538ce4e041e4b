"""The selector of Vespiary's loop: it takes turns of the port where others wait in epoll."""

from __future__ import annotations

import asyncio
import selectors
import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

    from vespiary._core import Core

__all__ = ["PortSelector"]


class _Watched(Mapping["FileDescriptorLike", selectors.SelectorKey]):
    """A selector's keys, found by descriptor or by the object that has one."""

    def __init__(self, selector: PortSelector) -> None:
        self._selector = selector

    def __getitem__(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._selector.find(fileobj)

    def __iter__(self) -> Iterator[FileDescriptorLike]:
        return iter(self._selector.descriptors())

    def __len__(self) -> int:
        return len(self._selector.descriptors())


class PortSelector(selectors.BaseSelector):
    """A selector on the port. It belongs to the loop that made it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._loop: weakref.ref[asyncio.AbstractEventLoop] | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the loop that it serves."""
        self._loop = weakref.ref(loop)

    def enter(self) -> None:
        """Let a thread that does not run the loop use it, while no other one does."""
        loop = self._loop() if self._loop is not None else None
        if loop is None or not loop.is_running():
            self._core.enter_thread()

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        """Watch a descriptor.

        Raises:
            ValueError: the events are none, or the object has no descriptor.
            KeyError: it is watched already.
            OSError: it is not open (EBADF), or cannot be watched, like a regular file (EPERM).
        """
        if not events or events & ~(selectors.EVENT_READ | selectors.EVENT_WRITE):
            raise ValueError(f"invalid events: {events!r}")
        fd = _descriptor(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} (descriptor {fd}) is already registered")
        self.enter()
        self._core.register(fd, events)
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """Stop watching a descriptor."""
        fd = self._known(fileobj)
        self.enter()
        key = self._keys.pop(fd)
        self._core.unregister(key.fd)
        return key

    def modify(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        """Watch for other events, or change the data."""
        fd = self._known(fileobj)
        key = self._keys[fd]
        if events != key.events:
            self.enter()
            self._core.register(fd, events)
        key = selectors.SelectorKey(key.fileobj, fd, events, data)
        self._keys[fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Run completions until the loop has work; which descriptors are ready."""
        loop = self._loop() if self._loop is not None else None
        ready = self._core.select(timeout, loop)
        return self.keys_of(ready)

    def keys_of(self, ready: list[tuple[int, int]]) -> list[tuple[selectors.SelectorKey, int]]:
        """The keys of descriptors that are ready, each with the events that are watched for."""
        keys = self._keys
        return [(keys[fd], events & keys[fd].events) for fd, events in ready if fd in keys]

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        """The descriptors that are watched, found by number or by the object that has them."""
        return _Watched(self)

    def find(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """The key of a descriptor, or of the object that has one; KeyError when there is none."""
        return self._keys[self._known(fileobj)]

    def descriptors(self) -> list[int]:
        """The numbers of the descriptors that are watched."""
        return list(self._keys)

    def close(self) -> None:
        """End everything on the port."""
        self._keys.clear()
        self._core.close()

    def _known(self, fileobj: FileDescriptorLike) -> int:
        try:
            fd = _descriptor(fileobj)
        except ValueError:
            # A closed file has no descriptor any more.
            for key in self._keys.values():
                if key.fileobj is fileobj:
                    return key.fd
            raise
        if fd not in self._keys:
            raise KeyError(f"{fileobj!r} is not registered")
        return fd


def _descriptor(fileobj: FileDescriptorLike) -> int:
    if isinstance(fileobj, int):
        fd = fileobj
    else:
        try:
            fd = int(fileobj.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"invalid file object: {fileobj!r}") from None
    if fd < 0:
        raise ValueError(f"invalid file descriptor: {fd}")
    return fd
