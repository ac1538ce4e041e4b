"""The network namespaces of this machine, and how to look into one.

Each process is in one; one without a process is held by a file, which `ip netns add` makes in
`/run/netns`. A socket stays in the namespace in which it was made, so one visit is enough for the
dumps; settings and counters are read in a visit per look.

Entering takes rights in the user namespace that owns the network namespace. Inside a container one
may have them for another namespace and not for one's own, and then could not come back. So a visit
is made by a thread that ends with it: a network namespace belongs to a thread.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vespiary.errors import ConfigurationError
from vespiary.prove.timewait.libc import setns
from vespiary.prove.timewait.processes import name_of, pids

__all__ = [
    "OWN",
    "Namespace",
    "all_namespaces",
    "hidden_processes",
    "inside",
    "namespace_of",
    "own_namespace",
]

T = TypeVar("T")

OWN = "own"
"""The name of the calling thread's, if it has none in `/run/netns`."""

_NAMED = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_OWN_PATH = Path("/proc/thread-self/ns/net")


@dataclass(frozen=True)
class Namespace:
    """A network namespace.

    Attributes:
        name: Its name in `/run/netns`, or the first process in it, such as `nginx (812)`.
        inode: What the kernel names it by.
        path: A file that leads to it.
    """

    name: str
    inode: int
    path: Path


def own_namespace() -> Namespace:
    """The one of the calling thread."""
    inode = _OWN_PATH.stat().st_ino
    for namespace in _named():
        if namespace.inode == inode:
            return Namespace(namespace.name, inode, _OWN_PATH)
    return Namespace(OWN, inode, _OWN_PATH)


def _named() -> Iterator[Namespace]:
    try:
        paths = sorted(_NAMED.iterdir())
    except OSError:
        return
    for path in paths:
        try:
            yield Namespace(path.name, path.stat().st_ino, path)
        except OSError:
            continue


def all_namespaces() -> list[Namespace]:
    """Every one that a process is in or that has a name, the calling thread's first.

    Those of processes that may not be read (of other users, without root) are missing.
    """
    own = own_namespace()
    found = {own.inode: own}
    for namespace in _named():
        found.setdefault(namespace.inode, namespace)
    for pid in pids():
        path = Path(f"/proc/{pid}/ns/net")
        try:
            inode = path.stat().st_ino
        except OSError:
            continue
        if inode not in found:
            found[inode] = Namespace(f"{name_of(pid) or '?'} ({pid})", inode, path)
    return list(found.values())


def hidden_processes() -> int:
    """Of how many processes the network namespace may not be read."""
    return sum(1 for pid in pids() if _is_hidden(Path(f"/proc/{pid}/ns/net")))


def _is_hidden(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def namespace_of(name: str) -> Namespace:
    """The one with this name in `/run/netns`, or of the process with this number.

    Raises:
        ConfigurationError: There is none.
    """
    for namespace in _named():
        if namespace.name == name:
            return namespace
    if name.isdigit():
        path = Path(f"/proc/{name}/ns/net")
        try:
            label = f"{name_of(int(name)) or '?'} ({name})"
            return Namespace(label, path.stat().st_ino, path)
        except OSError as error:
            raise ConfigurationError(
                f"the network namespace of process {name} cannot be read: {error.strerror}",
                subject="--namespace",
                value=name,
            ) from None
    names = ", ".join(namespace.name for namespace in _named()) or "none"
    raise ConfigurationError(
        f"there is no network namespace {name!r}: write a process's number, or a name of"
        f" /run/netns ({names})",
        subject="--namespace",
        value=name,
    )


def inside(namespace: Namespace, work: Callable[[], T]) -> T:
    """Do some work in a namespace: in the calling thread if it is there, else in a visiting one.

    Raises:
        OSError: It has gone, or the caller may not enter it.
    """
    if _OWN_PATH.stat().st_ino == namespace.inode:
        return work()
    with ThreadPoolExecutor(1) as visitor:
        return visitor.submit(_visit, namespace, work).result()


def _visit(namespace: Namespace, work: Callable[[], T]) -> T:
    there = os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(there).st_ino != namespace.inode:
            raise FileNotFoundError(f"the network namespace of {namespace.name} no longer exists")
        setns(there, _CLONE_NEWNET)
    finally:
        os.close(there)
    return work()
