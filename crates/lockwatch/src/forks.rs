//! Locks that other threads held at a fork, and that stay locked in the child.
//!
//! The child gets a copy of the memory, with all locks in their state, but only the thread that
//! forked (fork(2)). A lock that another thread held stays locked forever, unless it is initialised
//! again. This is harmless if the child does not use the lock. If it does, the report says who held
//! it. So the record of the child begins with the threads of the parent, and the thread that forked
//! still holds its locks.
//!
//! The held locks are recorded just before the fork, after the program's own handlers
//! (`pthread_atfork`) have taken locks. A thread may take a mutex after that moment. The C library
//! stores the owner's number in the mutex, which is checked when a thread waits for it.

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::layout::{Kind, Thread};
use crate::log::Request;
use crate::region::{self, Region};
use crate::{births, held, locks, modules, shared, stacks, threads};

const LEFT_MAX: usize = 256;

/// A lock that is held at the fork.
#[derive(Clone, Copy)]
struct Left {
    address: u64,
    site: u64,
    kind: u32,
    is_shared: bool,
    depth: u32,
    /// The holder's number in the parent's record.
    thread: u32,
    tid: u32,
    name: [u8; 16],
    is_own: bool,
}

const NOTHING: Left = Left {
    address: 0,
    site: 0,
    kind: 0,
    is_shared: false,
    depth: 0,
    thread: 0,
    tid: 0,
    name: [0; 16],
    is_own: false,
};

/// What is stored for the child before the fork.
struct Luggage {
    left: [Left; LEFT_MAX],
    count: usize,
    /// Of the parent's record: when it began, who forked, when, and where, plus one.
    started: u64,
    forker: u32,
    moment: u32,
    stack: u32,
}

struct Packed(UnsafeCell<Luggage>);

// SAFETY: used only by the thread that has put its number into `PACKER`, and in a child, which has
// one thread.
unsafe impl Sync for Packed {}

static LUGGAGE: Packed = Packed(UnsafeCell::new(Luggage {
    left: [NOTHING; LEFT_MAX],
    count: 0,
    started: 0,
    forker: 0,
    moment: 0,
    stack: 0,
}));

/// The thread that is about to fork; a second one at the same moment notes nothing.
static PACKER: AtomicU32 = AtomicU32::new(0);
/// Whether this process is a fork of one that was watched: 1, and `LUGGAGE` is the parent's.
static IS_FORK: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static PACKS: Cell<bool> = const { Cell::new(false) };
}

fn luggage() -> Option<&'static mut Luggage> {
    // SAFETY: see `Packed`; no other reference lives while this one does.
    PACKS.get().then(|| unsafe { &mut *LUGGAGE.0.get() })
}

fn begin_packing() -> bool {
    if PACKS.get() {
        return true;
    }
    let me = std::process::id();
    let result = PACKER.compare_exchange(0, me, Ordering::AcqRel, Ordering::Relaxed);
    PACKS.set(result.is_ok());
    result.is_ok()
}

fn end_packing() {
    if PACKS.replace(false) {
        PACKER.store(0, Ordering::Release);
    }
}

fn alive(region: &Region) -> impl Iterator<Item = (u32, &Thread)> {
    (0_u32..).zip(region.threads_seen()).filter(|(_, thread)| {
        matches!(
            thread.state.load(Ordering::Relaxed),
            threads::ALIVE | threads::LEFT_BEHIND
        )
    })
}

/// The program calls fork(2): where it is. Not in a handler, before which others of the program may
/// have taken the allocator's locks.
pub(crate) fn leave_place(site: u64) {
    if region::present().is_none() || !begin_packing() {
        return;
    }
    let (Some(inside), Some(luggage)) = (threads::enter(), luggage()) else {
        return;
    };
    let region = inside.region;
    let me = threads::number(region, inside.thread);
    luggage.stack = 0;
    if alive(region).any(|(number, _)| number != me) {
        luggage.stack = match stacks::capture(region, 0) {
            0 => stacks::capture(region, site),
            stack => stack,
        };
    }
}

/// Just before the fork, after all other handlers: store the held locks.
pub(crate) unsafe extern "C" fn prepare() {
    let Some((region, me)) = threads::present() else {
        // No lock was seen here. Locks that this process got from its own parent are passed on.
        return;
    };
    if !begin_packing() {
        return;
    }
    let Some(luggage) = luggage() else {
        return;
    };
    luggage.count = 0;
    luggage.started = region.header.started;
    luggage.forker = threads::keep(region, me);
    luggage.moment = region.moment();
    for (number, thread) in alive(region) {
        let is_own = number == luggage.forker;
        for entry in held::entries(thread) {
            let depth = entry.depth.load(Ordering::Relaxed);
            let lock = locks::lock(region, entry.lock.load(Ordering::Relaxed));
            let is_everybodys = lock.shared.load(Ordering::Relaxed) != 0;
            let kind = lock.kind.load(Ordering::Relaxed);
            if depth == 0 || is_everybodys || !is_left(kind) || luggage.count == LEFT_MAX {
                continue;
            }
            let name = std::array::from_fn(|at| thread.name[at].load(Ordering::Relaxed));
            luggage.left[luggage.count] = Left {
                address: entry.address.load(Ordering::Relaxed),
                site: entry.site.load(Ordering::Relaxed),
                kind,
                is_shared: entry.mode.load(Ordering::Relaxed) != 0,
                depth,
                thread: threads::keep(region, thread),
                tid: thread.tid.load(Ordering::Relaxed),
                name,
                is_own,
            };
            luggage.count += 1;
        }
    }
}

/// Locks of one process, that a fork copies.
fn is_left(kind: u32) -> bool {
    [
        Kind::Mutex,
        Kind::ReadWrite,
        Kind::Spin,
        Kind::PythonLock,
        Kind::PythonRecursive,
        Kind::Semaphore,
    ]
    .iter()
    .any(|each| *each as u32 == kind)
}

/// In the parent, after the fork: its orders from here on come after the start of the child.
pub(crate) unsafe extern "C" fn in_parent() {
    end_packing();
    if let Some((region, thread)) = threads::present() {
        thread.segment.store(region.moment(), Ordering::Relaxed);
        births::publish(thread);
    }
}

/// In the child.
pub(crate) fn in_child() {
    if PACKS.get() {
        IS_FORK.store(1, Ordering::Relaxed);
        end_packing();
    } else {
        PACKER.store(0, Ordering::Relaxed);
    }
}

/// The child's region begins with the threads and locks that the fork left behind.
pub(crate) fn unpack(region: &'static Region) {
    if IS_FORK.load(Ordering::Relaxed) == 0 {
        return;
    }
    // SAFETY: see `Packed`: the child's first operation, of its only thread.
    let luggage = unsafe { &*LUGGAGE.0.get() };
    let header = &region.header;
    header.forker.store(luggage.forker, Ordering::Relaxed);
    header.fork_stack.store(luggage.stack, Ordering::Relaxed);
    header.fork_moment.store(luggage.moment, Ordering::Relaxed);
    header.forked_from.store(luggage.started, Ordering::Release);
    let left = &luggage.left[..luggage.count];
    let Some(me) = threads::register(region) else {
        return;
    };
    for each in left {
        let holder = if each.is_own {
            me
        } else {
            let Some(holder) = phantom(region, each.thread, each.tid) else {
                return;
            };
            for (slot, byte) in holder.name.iter().zip(each.name) {
                slot.store(byte, Ordering::Relaxed);
            }
            holder
        };
        let is_python = each.site >> 63 != 0;
        // A place in Python code is a text in the parent's record, which the child's does not have.
        let made = if is_python { 0 } else { each.site };
        let site = if each.is_own { made } else { each.site };
        let Some(lock) = locks::inherit(region, each.address, each.kind, made) else {
            return;
        };
        for _ in 0..each.depth {
            let request = Request::default();
            held::push(
                region,
                holder,
                lock,
                each.address,
                each.is_shared,
                site,
                &request,
            );
        }
        if made != 0 {
            modules::know(region, &[made]);
        }
    }
}

/// The place of a thread that was left behind, with a number in the parent's record.
fn phantom(region: &Region, number: u32, tid: u32) -> Option<&Thread> {
    let same = alive(region).find(|(_, thread)| {
        thread.state.load(Ordering::Relaxed) == threads::LEFT_BEHIND
            && thread.tid.load(Ordering::Relaxed) == tid
    });
    if let Some((_, thread)) = same {
        return Some(thread);
    }
    let thread = &region.threads[threads::claim(region)? as usize];
    thread.tid.store(tid, Ordering::Relaxed);
    thread.parent.store(number + 1, Ordering::Relaxed);
    thread.state.store(threads::LEFT_BEHIND, Ordering::Release);
    Some(thread)
}

/// A thread has to wait for a lock without a known holder. In a forked process, the lock may have
/// been taken after the held locks were stored and before the fork.
#[cold]
pub(crate) fn look_for_owner(region: &Region, number: u32) {
    let lock = locks::lock(region, number);
    if IS_FORK.load(Ordering::Relaxed) == 0
        || lock.owner.load(Ordering::Relaxed) != 0
        || lock.shared.load(Ordering::Relaxed) != 0
    {
        return;
    }
    let address = lock.address.load(Ordering::Relaxed);
    let owner = shared::owner(lock.kind.load(Ordering::Relaxed), address);
    if owner == 0 || is_here(owner) {
        return;
    }
    if let Some(holder) = phantom(region, u32::MAX, owner as u32) {
        held::push(
            region,
            holder,
            number,
            address,
            false,
            0,
            &Request::default(),
        );
    }
}

/// Whether a thread with this number is in this process.
fn is_here(tid: libc::c_int) -> bool {
    // SAFETY: no signal is sent; it is only looked whether one could be (tgkill(2)).
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, 0) == 0 }
}
