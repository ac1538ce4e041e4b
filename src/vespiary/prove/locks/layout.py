"""The layout of the files that the preloaded library writes.

Written by `make lock-layout` from `crates/lockwatch/src/layout.rs`; do not edit by hand.
"""

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

# `vlocks` and the layout's version.
MAGIC: Final = b"vlocks\x00\x02"
THREADS_MAX: Final = 32768
LOCKS_MAX: Final = 524288
EDGES_MAX: Final = 131072
EVENTS_MAX: Final = 4096
MODULES_MAX: Final = 1024
# Locks in memory that other processes may have too.
SHARED_MAX: Final = 16384
# Processes that this one has made.
CHILDREN_MAX: Final = 8192
# Bytes for names that only the process knows.
TEXT_MAX: Final = 4194304
# Words for stacks: an address or a frame each.
WORDS_MAX: Final = 4194304
# Locks that one thread holds at the same time, more are not remembered.
HELD_MAX: Final = 64
# Locks that are reported as held besides, with one order.
GATES_MAX: Final = 10
# Threads that record orders of which it is known what came before (`clocks`).
CLOCK_MAX: Final = 64
# Arrays in the file, in this order: threads, locks, edges, events, words, modules, text, shared
# locks, children.
ARRAYS: Final = 9
# The state of a thread or a lock.
ALIVE: Final = 1
ENDED: Final = 2
# A thread of the parent's, which this process does not have (`forks`).
LEFT_BEHIND: Final = 3
# How a thread waits for a lock that others may share.
WAITS_SHARED: Final = 1
# How a thread waits for a signal.
WAITS_FOR_SIGNAL: Final = 2
# In a thread's marks: it is a task.
TASK: Final = 1
# In a thread's marks: it has recorded an order since its segment began.
HAS_ORDER: Final = 2
# In a thread's marks: a time limit ends its wait.
LIMITED: Final = 4
# In a thread's marks: it has handed over since it recorded its last order.
HAS_HANDED_OVER: Final = 8
# What a lock is used for: a signal, which nobody owns.
SIGNAL: Final = 1
# It says that a thread lives.
LIFE: Final = 2
# A lock of an interpreter that is not covered.
UNCOVERED: Final = 3
# Taken by a `with` statement, which releases it too: a lock, and no signal so far.
OWNED: Final = 4
# `stack` is where the lock was made; else where it was first seen.
IS_MADE: Final = 1
# It is a condition's, and hands over.
HANDS_OVER: Final = 2
# The thread that had taken it has released it.
IS_RELEASED: Final = 4
# It guards a semaphore of `threading`.
GUARDS: Final = 8
# Its owner holds more locks than are remembered, this one among them.
IS_EXCESS: Final = 16
# In an order's modes: `from` is held shared, `to` is taken shared.
FROM_SHARED: Final = 1
TO_SHARED: Final = 2
# One of them was known to this thread alone (`births`).
PRIVATE: Final = 4
LOST: Final = 11
# `vlocklg` and the layout's version, of the full mode's log.
LOG_MAGIC: Final = b"vlocklg\x01"
# How a lock was taken: bits of `Acquisition::how`. The first says that the entry is written.
READY: Final = 1
# As a reader.
SHARED: Final = 2
# Tried, or with a time limit.
TRIED: Final = 4
# Somebody else had it.
CONTENDED: Final = 8
# It was not got.
FAILED: Final = 16
# The thread had it already.
AGAIN: Final = 32
# Given back by a wait on a condition.
AFTER_WAIT: Final = 64


class Kind(IntEnum):
    """What kind of thing a lock is."""

    MUTEX = 1
    READ_WRITE = 2
    SPIN = 3
    PYTHON_LOCK = 4
    PYTHON_RECURSIVE = 5
    GIL = 6
    # The dynamic loader's.
    LOADER = 7
    # `asyncio.Lock`, which a task holds.
    TASK_LOCK = 8
    # The end of a thread, which that thread holds as long as it lives.
    END = 9
    SEMAPHORE = 10
    # What multiprocessing makes its locks of.
    PYTHON_SEMAPHORE = 11
    # What is done once: held by the thread that does it (`pthread_once`, a static's guard).
    ONCE = 12
    # What a future will be set to, which the thread holds that works it out.
    FUTURE = 13
    # Of a stream of C's (`flockfile`).
    STREAM = 14
    # Of a module, which the thread holds that imports it.
    IMPORT = 15
    # `threading.Semaphore` and `BoundedSemaphore` that begin with 1.
    THREADING_SEMAPHORE = 16
    # The same of asyncio's, which a task holds.
    TASK_SEMAPHORE = 17


class What(IntEnum):
    """What is reported for what it is."""

    # A lock that is not recursive was taken again by the thread that holds it.
    RELOCK = 1
    # A lock was unlocked by a thread that does not hold it.
    FOREIGN_UNLOCK = 2
    # A lock was destroyed while it was held.
    DESTROYED_HELD = 3
    # A thread ended while it held a lock.
    ENDED_HOLDING = 4
    # A thread waits on a condition while it holds another lock.
    WAIT_HOLDING = 5


class Lost(IntEnum):
    """Which of `Header::lost`."""

    THREADS = 0
    LOCKS = 1
    EDGES = 2
    EVENTS = 3
    WORDS = 4
    MODULES = 5
    TEXT = 6
    # Locks that a thread held beyond `HELD_MAX`.
    HELD = 7
    # Orders of two locks that were recorded often enough (`edges`).
    REPEATS = 8
    SHARED = 9
    CHILDREN = 10


class Place(NamedTuple):
    """Where an array lies in the file."""

    offset: int
    item_bytes: int
    items_max: int


PLACE_STRUCT: Final = Struct("<QII")


class Header(NamedTuple):
    """The file's first page."""

    magic: int
    pid: int
    parent: int
    # Nanoseconds of `CLOCK_MONOTONIC` at the start.
    started: int
    threads: int
    locks: int
    edges: int
    events: int
    words: int
    modules: int
    text: int
    # Moments of creating and joining threads, in order.
    segments: int
    # What found its table full.
    lost: bytes
    # 1: the process has ended by `exit`.
    ended: int
    shared: int
    children: int
    # Of a forked process: the thread of the parent that forked, and the stack that it left in the
    # parent's record, plus one.
    forker: int
    fork_stack: int
    # The moment of the fork, in the parent's time.
    fork_moment: int
    # `started` of the parent's record; 0 where the process was not forked or the parent has none.
    forked_from: int
    # Indices of clocks that were given out.
    clocks: int
    # The inode of the namespace that `pid` and the threads' numbers belong to; 0 where that is not
    # known.
    pid_namespace: int


HEADER_STRUCT: Final = Struct("<QIIQ144xIIIIIIII88sIIIIIIQII")
HEADER_PLACES_OFFSET: Final = 24


class Held(NamedTuple):
    """A lock that a thread holds."""

    # The lock's address, so that it is found again without the table.
    address: int
    # The caller's address.
    site: int
    lock: int
    # 0 exclusive, 1 shared.
    mode: int
    # How often it was taken; 0 once somebody else has released it.
    depth: int
    # Its entry in the log of the full mode, plus one.
    log: int
    # The task that took it, plus one, for a thread's entry; 0 for the thread itself.
    task: int
    # 1: a thread that waits for a condition was notified while this lock was held.
    has_notified: int


HELD_STRUCT: Final = Struct("<QQIIIIII")


class Thread(NamedTuple):
    """A thread, from its first operation on."""

    tid: int
    # `ALIVE`, `ENDED` or `LEFT_BEHIND`: then `parent` is a number in the parent's record.
    state: int
    # Its `pthread_t`.
    handle: int
    # The thread that made it, plus one; 0 for the first and for those made unseen.
    parent: int
    # The moment of its creation, in its parent's time.
    born: int
    # Who has joined it, plus one, and when.
    joiner: int
    joined: int
    # The moment since which its orders count.
    segment: int
    # The lock it waits for, plus one.
    waiting: int
    # 0 exclusive, `WAITS_SHARED`, `WAITS_FOR_SIGNAL`.
    waiting_mode: int
    # The stack it left when the wait grew long, plus one.
    waiting_stack: int
    # Nanoseconds of `CLOCK_MONOTONIC` when it began to wait.
    waiting_since: int
    operations: int
    contended: int
    name: bytes
    held_count: int
    # Inside this library: its own operations go straight through.
    inside: int
    # Hashes of the orders recorded lately.
    recent: bytes
    # Bits: `TASK`, `HAS_ORDER`, `LIMITED`, `HAS_HANDED_OVER`.
    marks: int
    # The thread that a task runs on, plus one; 0 for what is a thread itself.
    carrier: int
    # A task's coroutine: the place of its text, plus one.
    coroutine: int
    # Its index in clocks, plus one; 0 before it has recorded an order.
    clock_index: int
    # A task's name.
    task_name: bytes
    # The place of the name that Python has for it, plus one, and how often that was looked for.
    title: int
    title_tries: int
    # How often it has released a lock, or handed over.
    releases: int
    # The mutex that a wait on a condition will take again, plus one.
    retaking: int
    # The epochs of other threads that were over before what it does now.
    clock: bytes


THREAD_STRUCT: Final = Struct("<IIQIIIIIIIIQQQ16sII2560x512sIIII64sIIII256s")
THREAD_WAITING_OFFSET: Final = 36
THREAD_HELD_OFFSET: Final = 96


class Lock(NamedTuple):
    """A lock, from its first operation to its end."""

    address: int
    kind: int
    # `ALIVE` or `ENDED`.
    state: int
    # The thread that holds it exclusively, plus one.
    owner: int
    # Where it was made or first seen, plus one.
    stack: int
    first_site: int
    # 0 where nothing is known, or `SIGNAL`, `LIFE`, `UNCOVERED`, `OWNED`.
    flavour: int
    # 1: something that was written down names this lock, which therefore stays when it ends.
    is_named: int
    # For a lock on its thread's stack: where the return address above its frame lies, and which.
    frame: int
    frame_return: int
    # Bits: `IS_MADE`, `HANDS_OVER`, `IS_RELEASED`, `GUARDS`, `IS_EXCESS`. From bit 16 on: how often
    # its thread has an import lock besides once.
    is_made: int
    # Its place among the shared locks, plus one.
    shared: int


LOCK_STRUCT: Final = Struct("<QIIIIQIIQQII")


class Shared(NamedTuple):
    """What makes a lock the same one in several processes: where its memory comes from."""

    device: int
    inode: int
    offset: int
    # Nanoseconds of `CLOCK_MONOTONIC` when this process entered it.
    entered: int
    # 1: this process has made it then, and knows what it was made for.
    is_made: int
    # 1: a robust mutex, which tells the next one that its owner has ended.
    is_robust: int
    # The lock's number.
    lock: int


SHARED_STRUCT: Final = Struct("<QQQQIII4x")


class Child(NamedTuple):
    """A process that this one has made."""

    # Written last.
    pid: int
    # The thread that made it, and when.
    maker: int
    born: int
    # The thread that has waited for its end, plus one, and when.
    waiter: int
    waited: int
    # Nanoseconds of `CLOCK_MONOTONIC` when it was there.
    made: int
    # And when its end had been waited for.
    ended: int


CHILD_STRUCT: Final = Struct("<IIIII4xQQ")


class Edge(NamedTuple):
    """An order: a thread took `to` while it held `from`."""

    # 1: all other fields are written.
    ready: int
    thread: int
    segment: int
    first: int
    to: int
    # Bits: `FROM_SHARED`, `TO_SHARED`, `PRIVATE`.
    modes: int
    stack: int
    gate_count: int
    from_site: int
    to_site: int
    # What else it held exclusively.
    gates: bytes
    # Where `from` was taken, plus one; only the full mode knows.
    from_stack: int
    # The thread's index in clocks, plus one, and its clock.
    clock_index: int
    # Nanoseconds of `CLOCK_MONOTONIC` when it was first seen.
    time: int
    clock: bytes


EDGE_STRUCT: Final = Struct("<IIIIIIIIQQ40sIIQ256s")


class Event(NamedTuple):
    """Something that happened."""

    ready: int
    what: int
    thread: int
    lock: int
    # The other lock that it is about, plus one, or the other thread, plus one.
    other: int
    stack: int
    site: int


EVENT_STRUCT: Final = Struct("<IIIIIIQ")


class Module(NamedTuple):
    """A loaded object."""

    # What is added to the file's own addresses.
    bias: int
    start: int
    end: int
    path: bytes


MODULE_STRUCT: Final = Struct("<QQQ512s")


class LogHead(NamedTuple):
    """The first page of the full mode's log."""

    magic: int
    pid: int
    entry_bytes: int
    # Acquisitions for which there is room, and for which room was taken.
    entries_max: int
    entries: int
    # Acquisitions that found none.
    lost: int
    # When the process ended by `exit`.
    ended: int


LOG_HEAD_STRUCT: Final = Struct("<QIIIIQQ")


class Acquisition(NamedTuple):
    """One acquisition in the log. Moments are nanoseconds of `CLOCK_MONOTONIC`."""

    wanted: int
    # 0: it was not got.
    taken: int
    # 0: it is held.
    released: int
    lock: int
    thread: int
    # Where, plus one.
    stack: int
    how: int


ACQUISITION_STRUCT: Final = Struct("<QQQIIII")
