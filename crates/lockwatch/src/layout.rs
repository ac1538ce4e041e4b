//! The layout of the files that are shared with the watcher.
//!
//! All of it is `repr(C)`, and consists mostly of arrays. The header contains their sizes and
//! places. The file is sparse, so what is never used needs no memory. The definitions for Python
//! are generated from this file (`make lock-layout`). So it contains only constants, enumerations
//! and structures.

use std::mem::size_of;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

/// `vlocks` and the layout's version.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"vlocks\x00\x02");

pub(crate) const THREADS_MAX: usize = 1 << 15;
pub(crate) const LOCKS_MAX: usize = 1 << 19;
pub(crate) const EDGES_MAX: usize = 1 << 17;
pub(crate) const EVENTS_MAX: usize = 1 << 12;
pub(crate) const MODULES_MAX: usize = 1 << 10;
/// Locks in memory that other processes may have too.
pub(crate) const SHARED_MAX: usize = 1 << 14;
/// Processes that this one has made.
pub(crate) const CHILDREN_MAX: usize = 1 << 13;
/// Bytes for names that only the process knows.
pub(crate) const TEXT_MAX: usize = 1 << 22;
/// Words for stacks: an address or a frame each.
pub(crate) const WORDS_MAX: usize = 1 << 22;
/// Locks that one thread holds at the same time, more are not remembered.
pub(crate) const HELD_MAX: usize = 64;
/// Locks that are reported as held besides, with one order.
pub(crate) const GATES_MAX: usize = 10;
/// Threads that record orders of which it is known what came before (`clocks`).
pub(crate) const CLOCK_MAX: usize = 64;

/// Arrays in the file, in this order: threads, locks, edges, events, words, modules, text, shared
/// locks, children.
pub(crate) const ARRAYS: usize = 9;

/// Where an array lies in the file.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) item_bytes: u32,
    pub(crate) items_max: u32,
}

/// The file's first page.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: u64,
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    /// Nanoseconds of `CLOCK_MONOTONIC` at the start.
    pub(crate) started: u64,
    pub(crate) places: [Place; ARRAYS],
    pub(crate) threads: AtomicU32,
    pub(crate) locks: AtomicU32,
    pub(crate) edges: AtomicU32,
    pub(crate) events: AtomicU32,
    pub(crate) words: AtomicU32,
    pub(crate) modules: AtomicU32,
    pub(crate) text: AtomicU32,
    /// Moments of creating and joining threads, in order.
    pub(crate) segments: AtomicU32,
    /// What found its table full.
    pub(crate) lost: [AtomicU64; LOST],
    /// 1: the process has ended by `exit`.
    pub(crate) ended: AtomicU32,
    pub(crate) shared: AtomicU32,
    pub(crate) children: AtomicU32,
    /// Of a forked process: the thread of the parent that forked, and the stack that it left in the
    /// parent's record, plus one.
    pub(crate) forker: AtomicU32,
    pub(crate) fork_stack: AtomicU32,
    /// The moment of the fork, in the parent's time.
    pub(crate) fork_moment: AtomicU32,
    /// `started` of the parent's record; 0 where the process was not forked or the parent has
    /// none.
    pub(crate) forked_from: AtomicU64,
    /// Indices of clocks that were given out.
    pub(crate) clocks: AtomicU32,
    /// The inode of the namespace that `pid` and the threads' numbers belong to; 0 where that is
    /// not known.
    pub(crate) pid_namespace: u32,
}

/// A thread, from its first operation on.
#[repr(C)]
pub(crate) struct Thread {
    pub(crate) tid: AtomicU32,
    /// [`ALIVE`], [`ENDED`] or [`LEFT_BEHIND`]: then `parent` is a number in the parent's record.
    pub(crate) state: AtomicU32,
    /// Its `pthread_t`.
    pub(crate) handle: AtomicU64,
    /// The thread that made it, plus one; 0 for the first and for those made unseen.
    pub(crate) parent: AtomicU32,
    /// The moment of its creation, in its parent's time.
    pub(crate) born: AtomicU32,
    /// Who has joined it, plus one, and when.
    pub(crate) joiner: AtomicU32,
    pub(crate) joined: AtomicU32,
    /// The moment since which its orders count.
    pub(crate) segment: AtomicU32,
    /// The lock it waits for, plus one.
    pub(crate) waiting: AtomicU32,
    /// 0 exclusive, [`WAITS_SHARED`], [`WAITS_FOR_SIGNAL`].
    pub(crate) waiting_mode: AtomicU32,
    /// The stack it left when the wait grew long, plus one.
    pub(crate) waiting_stack: AtomicU32,
    /// Nanoseconds of `CLOCK_MONOTONIC` when it began to wait.
    pub(crate) waiting_since: AtomicU64,
    pub(crate) operations: AtomicU64,
    pub(crate) contended: AtomicU64,
    pub(crate) name: [AtomicU8; 16],
    pub(crate) held_count: AtomicU32,
    /// Inside this library: its own operations go straight through.
    pub(crate) inside: AtomicU32,
    pub(crate) held: [Held; HELD_MAX],
    /// Hashes of the orders recorded lately.
    pub(crate) recent: [AtomicU64; 64],
    /// Bits: [`TASK`], [`HAS_ORDER`], [`LIMITED`], [`HAS_HANDED_OVER`].
    pub(crate) marks: AtomicU32,
    /// The thread that a task runs on, plus one; 0 for what is a thread itself.
    pub(crate) carrier: AtomicU32,
    /// A task's coroutine: the place of its text, plus one.
    pub(crate) coroutine: AtomicU32,
    /// Its index in clocks, plus one; 0 before it has recorded an order.
    pub(crate) clock_index: AtomicU32,
    /// A task's name.
    pub(crate) task_name: [AtomicU8; 64],
    /// The place of the name that Python has for it, plus one, and how often that was looked for.
    pub(crate) title: AtomicU32,
    pub(crate) title_tries: AtomicU32,
    /// How often it has released a lock, or handed over.
    pub(crate) releases: AtomicU32,
    /// The mutex that a wait on a condition will take again, plus one.
    pub(crate) retaking: AtomicU32,
    /// The epochs of other threads that were over before what it does now.
    pub(crate) clock: [AtomicU32; CLOCK_MAX],
}

/// The state of a thread or a lock.
pub(crate) const ALIVE: u32 = 1;
pub(crate) const ENDED: u32 = 2;
/// A thread of the parent's, which this process does not have (`forks`).
pub(crate) const LEFT_BEHIND: u32 = 3;

/// How a thread waits for a lock that others may share.
pub(crate) const WAITS_SHARED: u32 = 1;
/// How a thread waits for a signal.
pub(crate) const WAITS_FOR_SIGNAL: u32 = 2;

/// In a thread's marks: it is a task.
pub(crate) const TASK: u32 = 1;
/// In a thread's marks: it has recorded an order since its segment began.
pub(crate) const HAS_ORDER: u32 = 2;
/// In a thread's marks: a time limit ends its wait.
pub(crate) const LIMITED: u32 = 4;
/// In a thread's marks: it has handed over since it recorded its last order.
pub(crate) const HAS_HANDED_OVER: u32 = 8;

/// A lock that a thread holds.
#[repr(C)]
pub(crate) struct Held {
    /// The lock's address, so that it is found again without the table.
    pub(crate) address: AtomicU64,
    /// The caller's address.
    pub(crate) site: AtomicU64,
    pub(crate) lock: AtomicU32,
    /// 0 exclusive, 1 shared.
    pub(crate) mode: AtomicU32,
    /// How often it was taken; 0 once somebody else has released it.
    pub(crate) depth: AtomicU32,
    /// Its entry in the log of the full mode, plus one.
    pub(crate) log: AtomicU32,
    /// The task that took it, plus one, for a thread's entry; 0 for the thread itself.
    pub(crate) task: AtomicU32,
    /// 1: a thread that waits for a condition was notified while this lock was held.
    pub(crate) has_notified: AtomicU32,
}

/// What kind of thing a lock is.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Mutex = 1,
    ReadWrite = 2,
    Spin = 3,
    PythonLock = 4,
    PythonRecursive = 5,
    Gil = 6,
    /// The dynamic loader's.
    Loader = 7,
    /// `asyncio.Lock`, which a task holds.
    TaskLock = 8,
    /// The end of a thread, which that thread holds as long as it lives.
    End = 9,
    Semaphore = 10,
    /// What multiprocessing makes its locks of.
    PythonSemaphore = 11,
    /// What is done once: held by the thread that does it (`pthread_once`, a static's guard).
    Once = 12,
    /// What a future will be set to, which the thread holds that works it out.
    Future = 13,
    /// Of a stream of C's (`flockfile`).
    Stream = 14,
    /// Of a module, which the thread holds that imports it.
    Import = 15,
    /// `threading.Semaphore` and `BoundedSemaphore` that begin with 1.
    ThreadingSemaphore = 16,
    /// The same of asyncio's, which a task holds.
    TaskSemaphore = 17,
}

/// A lock, from its first operation to its end.
#[repr(C)]
pub(crate) struct Lock {
    pub(crate) address: AtomicU64,
    pub(crate) kind: AtomicU32,
    /// [`ALIVE`] or [`ENDED`].
    pub(crate) state: AtomicU32,
    /// The thread that holds it exclusively, plus one.
    pub(crate) owner: AtomicU32,
    /// Where it was made or first seen, plus one.
    pub(crate) stack: AtomicU32,
    pub(crate) first_site: AtomicU64,
    /// 0 where nothing is known, or [`SIGNAL`], [`LIFE`], [`UNCOVERED`], [`OWNED`].
    pub(crate) flavour: AtomicU32,
    /// 1: something that was written down names this lock, which therefore stays when it ends.
    pub(crate) is_named: AtomicU32,
    /// For a lock on its thread's stack: where the return address above its frame lies, and which.
    pub(crate) frame: AtomicU64,
    pub(crate) frame_return: AtomicU64,
    /// Bits: [`IS_MADE`], [`HANDS_OVER`], [`IS_RELEASED`], [`GUARDS`], [`IS_EXCESS`]. From bit 16
    /// on: how often its thread has an import lock besides once.
    pub(crate) is_made: AtomicU32,
    /// Its place among the shared locks, plus one.
    pub(crate) shared: AtomicU32,
}

/// What a lock is used for: a signal, which nobody owns.
pub(crate) const SIGNAL: u32 = 1;
/// It says that a thread lives.
pub(crate) const LIFE: u32 = 2;
/// A lock of an interpreter that is not covered.
pub(crate) const UNCOVERED: u32 = 3;
/// Taken by a `with` statement, which releases it too: a lock, and no signal so far.
pub(crate) const OWNED: u32 = 4;

/// `stack` is where the lock was made; else where it was first seen.
pub(crate) const IS_MADE: u32 = 1;
/// It is a condition's, and hands over.
pub(crate) const HANDS_OVER: u32 = 2;
/// The thread that had taken it has released it.
pub(crate) const IS_RELEASED: u32 = 4;
/// It guards a semaphore of `threading`.
pub(crate) const GUARDS: u32 = 8;
/// Its owner holds more locks than are remembered, this one among them.
pub(crate) const IS_EXCESS: u32 = 16;

/// A cache line: an operation on a lock reads and writes several fields.
const _: () = assert!(size_of::<Lock>() == 64);

/// What makes a lock the same one in several processes: where its memory comes from.
#[repr(C)]
pub(crate) struct Shared {
    pub(crate) device: AtomicU64,
    pub(crate) inode: AtomicU64,
    pub(crate) offset: AtomicU64,
    /// Nanoseconds of `CLOCK_MONOTONIC` when this process entered it.
    pub(crate) entered: AtomicU64,
    /// 1: this process has made it then, and knows what it was made for.
    pub(crate) is_made: AtomicU32,
    /// 1: a robust mutex, which tells the next one that its owner has ended.
    pub(crate) is_robust: AtomicU32,
    /// The lock's number.
    pub(crate) lock: AtomicU32,
    reserved: u32,
}

/// A process that this one has made.
#[repr(C)]
pub(crate) struct Child {
    /// Written last.
    pub(crate) pid: AtomicU32,
    /// The thread that made it, and when.
    pub(crate) maker: AtomicU32,
    pub(crate) born: AtomicU32,
    /// The thread that has waited for its end, plus one, and when.
    pub(crate) waiter: AtomicU32,
    pub(crate) waited: AtomicU32,
    reserved: u32,
    /// Nanoseconds of `CLOCK_MONOTONIC` when it was there.
    pub(crate) made: AtomicU64,
    /// And when its end had been waited for.
    pub(crate) ended: AtomicU64,
}

/// An order: a thread took `to` while it held `from`.
#[repr(C)]
pub(crate) struct Edge {
    /// 1: all other fields are written.
    pub(crate) ready: AtomicU32,
    pub(crate) thread: AtomicU32,
    pub(crate) segment: AtomicU32,
    pub(crate) from: AtomicU32,
    pub(crate) to: AtomicU32,
    /// Bits: [`FROM_SHARED`], [`TO_SHARED`], [`PRIVATE`].
    pub(crate) modes: AtomicU32,
    pub(crate) stack: AtomicU32,
    pub(crate) gate_count: AtomicU32,
    pub(crate) from_site: AtomicU64,
    pub(crate) to_site: AtomicU64,
    /// What else it held exclusively.
    pub(crate) gates: [AtomicU32; GATES_MAX],
    /// Where `from` was taken, plus one; only the full mode knows.
    pub(crate) from_stack: AtomicU32,
    /// The thread's index in clocks, plus one, and its clock.
    pub(crate) clock_index: AtomicU32,
    /// Nanoseconds of `CLOCK_MONOTONIC` when it was first seen.
    pub(crate) time: AtomicU64,
    pub(crate) clock: [AtomicU32; CLOCK_MAX],
}

/// In an order's modes: `from` is held shared, `to` is taken shared.
pub(crate) const FROM_SHARED: u32 = 1;
pub(crate) const TO_SHARED: u32 = 2;
/// One of them was known to this thread alone (`births`).
pub(crate) const PRIVATE: u32 = 4;

/// What is reported for what it is.
#[repr(u32)]
#[derive(Clone, Copy)]
pub(crate) enum What {
    /// A lock that is not recursive was taken again by the thread that holds it.
    Relock = 1,
    /// A lock was unlocked by a thread that does not hold it.
    ForeignUnlock = 2,
    /// A lock was destroyed while it was held.
    DestroyedHeld = 3,
    /// A thread ended while it held a lock.
    EndedHolding = 4,
    /// A thread waits on a condition while it holds another lock.
    WaitHolding = 5,
}

/// Something that happened.
#[repr(C)]
pub(crate) struct Event {
    pub(crate) ready: AtomicU32,
    pub(crate) what: AtomicU32,
    pub(crate) thread: AtomicU32,
    pub(crate) lock: AtomicU32,
    /// The other lock that it is about, plus one, or the other thread, plus one.
    pub(crate) other: AtomicU32,
    pub(crate) stack: AtomicU32,
    pub(crate) site: AtomicU64,
}

/// A loaded object.
#[repr(C)]
pub(crate) struct Module {
    /// What is added to the file's own addresses.
    pub(crate) bias: AtomicU64,
    pub(crate) start: AtomicU64,
    pub(crate) end: AtomicU64,
    pub(crate) path: [AtomicU8; 512],
}

/// Which of [`Header::lost`].
#[repr(u32)]
#[derive(Clone, Copy)]
pub(crate) enum Lost {
    Threads = 0,
    Locks = 1,
    Edges = 2,
    Events = 3,
    Words = 4,
    Modules = 5,
    Text = 6,
    /// Locks that a thread held beyond [`HELD_MAX`].
    Held = 7,
    /// Orders of two locks that were recorded often enough (`edges`).
    Repeats = 8,
    Shared = 9,
    Children = 10,
}

pub(crate) const LOST: usize = 11;

/// `vlocklg` and the layout's version, of the full mode's log.
pub(crate) const LOG_MAGIC: u64 = u64::from_le_bytes(*b"vlocklg\x01");

/// The first page of the full mode's log.
#[repr(C)]
pub(crate) struct LogHead {
    pub(crate) magic: u64,
    pub(crate) pid: u32,
    pub(crate) entry_bytes: u32,
    /// Acquisitions for which there is room, and for which room was taken.
    pub(crate) entries_max: u32,
    pub(crate) entries: AtomicU32,
    /// Acquisitions that found none.
    pub(crate) lost: AtomicU64,
    /// When the process ended by `exit`.
    pub(crate) ended: AtomicU64,
}

/// How a lock was taken: bits of [`Acquisition::how`]. The first says that the entry is written.
pub(crate) const READY: u32 = 1;
/// As a reader.
pub(crate) const SHARED: u32 = 2;
/// Tried, or with a time limit.
pub(crate) const TRIED: u32 = 4;
/// Somebody else had it.
pub(crate) const CONTENDED: u32 = 8;
/// It was not got.
pub(crate) const FAILED: u32 = 16;
/// The thread had it already.
pub(crate) const AGAIN: u32 = 32;
/// Given back by a wait on a condition.
pub(crate) const AFTER_WAIT: u32 = 64;

/// One acquisition in the log. Moments are nanoseconds of `CLOCK_MONOTONIC`.
#[repr(C)]
pub(crate) struct Acquisition {
    pub(crate) wanted: AtomicU64,
    /// 0: it was not got.
    pub(crate) taken: AtomicU64,
    /// 0: it is held.
    pub(crate) released: AtomicU64,
    pub(crate) lock: AtomicU32,
    pub(crate) thread: AtomicU32,
    /// Where, plus one.
    pub(crate) stack: AtomicU32,
    pub(crate) how: AtomicU32,
}
