"""What the numbers in a record stand for: kinds of locks, events, and what found no room.

The numbers are the library's (`crates/lockwatch/src/layout.rs`).
"""

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
    "RECURSIVE",
    "REPEATS",
    "TASK_LOCK",
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

TASK_LOCK = "asyncio Lock"
"""That of `asyncio.Lock`, which tasks wait for while their thread goes on."""

KINDS = {
    1: "mutex",
    2: "read-write lock",
    3: "spin lock",
    4: "Python lock",
    5: RECURSIVE,
    6: GIL,
    7: LOADER,
    8: TASK_LOCK,
    9: END,
    10: "semaphore",
    11: "multiprocessing semaphore",
    12: "once",
    13: FUTURE,
    14: "lock of a stream",
    15: IMPORT,
}
MAY_BE_SIGNALS = {KINDS[4], KINDS[10], KINDS[11]}
"""Those that another thread may be meant to release."""

EVENTS = {
    1: "relock",
    2: "foreign-unlock",
    3: "destroyed-held",
    4: "ended-holding",
    5: "wait-holding",
}
REPEATS = "repeated orders"
"""Of two locks whose order was recorded often enough: nothing new, as good as always."""

LOST = (
    "threads",
    "locks",
    "orders",
    "events",
    "stacks",
    "modules",
    "names",
    "locks held at the same time",
    REPEATS,
    "shared locks",
    "child processes",
)
