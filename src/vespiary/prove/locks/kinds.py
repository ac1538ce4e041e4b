"""The meaning of the numbers in a record: kinds of locks, events, and what did not fit."""

from __future__ import annotations

from vespiary.prove.locks.layout import Kind, Lost, What

__all__ = [
    "END",
    "EVENTS",
    "FUTURE",
    "GIL",
    "IMPORT",
    "KINDS",
    "LOADER",
    "LOST",
    "MAY_BE_SIGNALS",
    "OF_TASKS",
    "RECURSIVE",
    "REPEATS",
]

GIL = "GIL"
"""The kind of lock that the interpreter's own is."""

LOADER = "loader's lock"
"""The dynamic loader's own, which it holds while it loads, unloads and looks up."""

END = "end of a thread"
"""What a thread that joins another one waits for; the other one holds it until it ends."""

FUTURE = "future"
"""What a thread works out for others that wait for it."""

IMPORT = "import lock"
"""That of a Python module, which the thread holds that imports it."""

RECURSIVE = "Python RLock"
"""That of `threading.RLock`, which its thread never waits for."""

OF_TASKS = {"asyncio Lock", "asyncio semaphore"}
"""Those of `asyncio.Lock` and `Semaphore`, which tasks wait for while their thread continues."""

KINDS: dict[int, str] = {
    Kind.MUTEX: "mutex",
    Kind.READ_WRITE: "read-write lock",
    Kind.SPIN: "spin lock",
    Kind.PYTHON_LOCK: "Python lock",
    Kind.PYTHON_RECURSIVE: RECURSIVE,
    Kind.GIL: GIL,
    Kind.LOADER: LOADER,
    Kind.TASK_LOCK: "asyncio Lock",
    Kind.END: END,
    Kind.SEMAPHORE: "semaphore",
    Kind.PYTHON_SEMAPHORE: "multiprocessing semaphore",
    Kind.ONCE: "once",
    Kind.FUTURE: FUTURE,
    Kind.STREAM: "lock of a stream",
    Kind.IMPORT: IMPORT,
    Kind.THREADING_SEMAPHORE: "Python semaphore",
    Kind.TASK_SEMAPHORE: "asyncio semaphore",
}
MAY_BE_SIGNALS = {
    KINDS[Kind.PYTHON_LOCK],
    KINDS[Kind.SEMAPHORE],
    KINDS[Kind.PYTHON_SEMAPHORE],
    KINDS[Kind.THREADING_SEMAPHORE],
    KINDS[Kind.TASK_SEMAPHORE],
}
"""Those that another thread may be meant to release."""

EVENTS: dict[int, str] = {
    What.RELOCK: "relock",
    What.FOREIGN_UNLOCK: "foreign-unlock",
    What.DESTROYED_HELD: "destroyed-held",
    What.ENDED_HOLDING: "ended-holding",
    What.WAIT_HOLDING: "wait-holding",
}
REPEATS = "repeated orders"
"""Of two locks whose order was recorded often enough: nothing new, as good as always."""

LOST = {
    Lost.THREADS: "threads",
    Lost.LOCKS: "locks",
    Lost.EDGES: "orders",
    Lost.EVENTS: "events",
    Lost.WORDS: "stacks",
    Lost.MODULES: "modules",
    Lost.TEXT: "names",
    Lost.HELD: "locks held at the same time",
    Lost.REPEATS: REPEATS,
    Lost.SHARED: "shared locks",
    Lost.CHILDREN: "child processes",
}
