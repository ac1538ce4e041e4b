//! The interpreter's own lock, the GIL, which is watched like other locks.
//!
//! The interpreter builds it from a mutex, a condition and a word that says whether it is taken
//! (`ceval_gil.c` of every version so far). To take the GIL, a thread locks the mutex, waits on the
//! condition (five milliseconds at a time) until the word is zero, sets the word, and unlocks. To
//! release the GIL, it locks, clears the word, signals and unlocks. Both are seen here, because the
//! calls use the dynamic linker. Each is **one critical section: when the thread unlocks the mutex,
//! it has the GIL if it did not have it before, and otherwise has released it**. (There is a third
//! case: a thread that finds that the interpreter is finalized unlocks while another thread has the
//! GIL. It is ignored.)
//!
//! Which mutex this is, is found out once, by releasing the GIL and taking it again: the first
//! mutex that this thread locks meanwhile belongs to the GIL. A mutex that it locks within is the
//! one with which the interpreter lets other threads run (`switch_mutex`). Both are in one
//! structure, so one comparison distinguishes them from all other mutexes. They do not count as
//! locks of the program. Only the GIL itself does, with an address of its own.
//!
//! A thread that has the GIL and waits for a native lock keeps the GIL meanwhile. So orders `GIL ->
//! native lock` and `native lock -> GIL` can form cycles like any others. A thread that waits for a
//! Python lock releases the GIL before. So there is no order `GIL -> Python lock`, and the GIL is
//! not a gate lock for Python locks ([`crate::edges`]).
//!
//! Interpreters with a GIL of their own (since Python 3.12) create it in the same function as the
//! first one. Such a mutex is marked, and reported as not covered. Free-threaded interpreters have
//! no GIL.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use libc::pthread_mutex_t;

use super::interface::Interface;
use crate::calls::{self, Outer};
use crate::interpreter;
use crate::layout::{Kind, Lock, Thread};
use crate::real::{self, OnMutex};
use crate::region::Region;
use crate::threads::{self, Inside};
use crate::{clock, edges, held, locks, stacks};

/// Where the GIL's mutex lies, and how far behind it its companion. Nothing is that near to the
/// highest address; while it is being learned, everything is.
static FIRST: AtomicU64 = AtomicU64::new(UNKNOWN);
static SPAN: AtomicU64 = AtomicU64::new(0);
const UNKNOWN: u64 = u64::MAX;
/// A companion is not further away than this.
const SPAN_MAX: u64 = 512;

/// The mutexes that the learning thread locks, in order, and how many.
static NOTES: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
static NOTED: AtomicU32 = AtomicU32::new(0);
/// The learning thread, as its number plus one.
static LEARNER: AtomicU32 = AtomicU32::new(0);

/// Where the first interpreter's GIL was made; others are made there too.
static MADE: AtomicU64 = AtomicU64::new(0);
/// The thread that forked had the GIL: the child's only thread begins with it.
static HAD_AT_FORK: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// What the thread waited for when it began to wait for the GIL.
    static WITHIN: Cell<Outer> = const { Cell::new(Outer::NOTHING) };
}

/// Whether a mutex is one of the GIL's.
#[inline]
pub(crate) fn is_inner(mutex: u64) -> bool {
    let first = FIRST.load(Ordering::Relaxed);
    mutex.wrapping_sub(first) <= SPAN.load(Ordering::Relaxed)
}

/// Whether an address is one of the structure that the GIL's mutexes lie in: of their conditions.
pub(crate) fn is_near(address: u64) -> bool {
    const NEAR: u64 = 128;
    let first = FIRST.load(Ordering::Relaxed).wrapping_sub(NEAR);
    is_known() && address.wrapping_sub(first) <= SPAN.load(Ordering::Relaxed) + 2 * NEAR
}

/// Whether there is one.
pub(crate) fn is_known() -> bool {
    FIRST.load(Ordering::Relaxed) != UNKNOWN && !is_learning()
}

/// Whether a thread has it.
pub(crate) fn is_held(thread: &Thread) -> bool {
    held::find(thread, key()).is_some()
}

/// Whether a thread holds nothing else.
#[inline]
pub(crate) fn is_all(thread: &Thread) -> bool {
    match held::entries(thread) {
        [] => true,
        [only] => interpreter::is_gil(only.lock.load(Ordering::Relaxed)),
        _ => false,
    }
}

/// The address under which the GIL is held: its mutex is a lock of its own, for a moment each time.
fn key() -> u64 {
    FIRST.load(Ordering::Relaxed) + 1
}

/// Learns which mutex is the GIL's. The thread holds the GIL and is inside this library.
///
/// # Safety
///
/// The interpreter is ready and this thread's state is the current one.
pub(super) unsafe fn learn(python: &Interface, inside: &Inside) {
    let Inside { region, thread } = inside;
    let me = threads::number(region, thread) + 1;
    NOTED.store(0, Ordering::Relaxed);
    LEARNER.store(me, Ordering::Relaxed);
    FIRST.store(0, Ordering::Relaxed);
    SPAN.store(u64::MAX, Ordering::Release);
    // SAFETY: the caller's promise.
    let dropped = unsafe {
        let state = (python.save_thread)();
        let dropped = NOTED.load(Ordering::Relaxed) as usize;
        (python.restore_thread)(state);
        dropped
    };
    let count = (NOTED.load(Ordering::Relaxed) as usize).min(NOTES.len());
    let notes = NOTES.each_ref().map(|note| note.load(Ordering::Relaxed));
    let taken = notes.get(dropped..count).unwrap_or_default();
    let found = dropped > 0 && taken.first() == Some(&notes[0]);
    let companion = taken.get(1).map_or(0, |next| next.wrapping_sub(notes[0]));
    SPAN.store(0, Ordering::Relaxed);
    FIRST.store(if found { notes[0] } else { UNKNOWN }, Ordering::Relaxed);
    if !found {
        return;
    }
    if let Some(before) = locks::known(region, notes[0]) {
        MADE.store(
            locks::lock(region, before)
                .first_site
                .load(Ordering::Relaxed),
            Ordering::Relaxed,
        );
    }
    if companion <= SPAN_MAX {
        SPAN.store(companion, Ordering::Release);
    }
    take(region, thread, 0);
}

/// The learner notes the mutexes that it locks; all other threads continue as usual.
#[cold]
fn note(mutex: u64) {
    let is_learner = threads::present().is_some_and(|(region, thread)| {
        threads::number(region, thread) + 1 == LEARNER.load(Ordering::Relaxed)
    });
    if is_learner {
        let position = NOTED.fetch_add(1, Ordering::Relaxed) as usize;
        if let Some(note) = NOTES.get(position) {
            note.store(mutex, Ordering::Relaxed);
        }
    }
}

fn is_learning() -> bool {
    SPAN.load(Ordering::Relaxed) == u64::MAX
}

/// The GIL's number; entered when it is first met in this process.
fn number(region: &Region, site: u64) -> Option<u32> {
    if let Some(number) = interpreter::gil() {
        return Some(number);
    }
    let number = locks::find(region, key(), Kind::Gil, site)?;
    locks::keep(region, number);
    interpreter::know_gil(Some(number));
    Some(number)
}

/// One of the inner mutexes is locked. `None`: everything continues as for any mutex.
#[inline(never)]
pub(crate) fn lock(mutex: *mut pthread_mutex_t, site: u64) -> Option<c_int> {
    if is_learning() {
        note(mutex as u64);
        return None;
    }
    if mutex as u64 == FIRST.load(Ordering::Relaxed)
        && let Some(inside) = threads::enter()
    {
        want(&inside, site);
    }
    // SAFETY: the caller's mutex, as the caller gave it.
    Some(unsafe { real::MUTEX_LOCK.get::<OnMutex>()(mutex) })
}

/// The thread is about to take the GIL, or to drop it if it has it.
#[inline]
fn want(inside: &Inside, site: u64) {
    let Inside { region, thread } = inside;
    if !held::entries(thread).is_empty()
        && held::find(thread, key()).is_none()
        && let Some(number) = number(region, site)
    {
        edges::record(region, thread, number, false, site);
    }
}

/// One of the inner mutexes is unlocked: see this file's head.
#[inline(never)]
pub(crate) fn unlock(mutex: u64, site: u64) -> bool {
    if is_learning() {
        return false;
    }
    if mutex == FIRST.load(Ordering::Relaxed)
        && let Some((region, thread)) = threads::here()
        && held::pop(region, thread, key(), true) == 0
    {
        // It may have been locked when nothing was known of it.
        held::pop(region, thread, mutex, true);
        end_wait(thread);
        take(region, thread, site);
    }
    true
}

/// The thread has the GIL from now on, unless somebody else has.
fn take(region: &Region, thread: &Thread, site: u64) {
    let Some(number) = number(region, site) else {
        return;
    };
    let lock: &Lock = locks::lock(region, number);
    let owner = lock.owner.load(Ordering::Relaxed);
    let is_anothers = owner
        .checked_sub(1)
        .is_some_and(|owner| held::find(&region.threads[owner as usize], key()).is_some());
    if !is_anothers {
        // Turns at the interpreter are not operations of the program's.
        held::hold(region, thread, number, key(), false, 0);
    }
}

/// A wait on a condition with one of the inner mutexes: for the GIL, some milliseconds at a time.
/// `None`: everything continues as for any mutex.
#[inline(never)]
pub(crate) fn wait(mutex: u64, site: u64) -> bool {
    if is_learning() {
        return false;
    }
    if mutex == FIRST.load(Ordering::Relaxed)
        && let Some(inside) = threads::enter()
        && let Some(number) = number(inside.region, site)
    {
        let Inside { region, thread } = &inside;
        if thread.waiting.load(Ordering::Relaxed) != number + 1 {
            WITHIN.set(calls::show_wait(thread, number, 0));
        } else if is_long(thread) {
            let stack = stacks::capture(region, site);
            thread.waiting_stack.store(stack, Ordering::Release);
        }
    }
    true
}

fn is_long(thread: &Thread) -> bool {
    let since = thread.waiting_since.load(Ordering::Relaxed);
    thread.waiting_stack.load(Ordering::Relaxed) == 0
        && clock::now() - since > calls::LONG_NANOSECONDS
}

fn end_wait(thread: &Thread) {
    let waiting = thread.waiting.load(Ordering::Relaxed);
    if waiting != 0 && interpreter::is_gil(waiting - 1) {
        calls::end_wait(thread, &WITHIN.replace(Outer::NOTHING));
    }
}

/// A mutex is made or destroyed. Whether it is one of the GIL's, which a child makes again.
pub(crate) fn is_made_anew(mutex: u64) -> bool {
    if is_learning() || !is_inner(mutex) {
        return false;
    }
    if let Some((region, thread)) = threads::here() {
        held::pop(region, thread, key(), true);
    }
    true
}

/// Whether a mutex is made where the GIL was: it is another interpreter's.
pub(crate) fn is_another(site: u64) -> bool {
    site != 0 && MADE.load(Ordering::Relaxed) == site
}

/// In a new child: what the forking thread held, before its place is forgotten.
pub(crate) fn on_fork() {
    let is_known = FIRST.load(Ordering::Relaxed) != UNKNOWN;
    let had = is_known
        && threads::present().is_some_and(|(_, thread)| held::find(thread, key()).is_some());
    HAD_AT_FORK.store(had, Ordering::Relaxed);
    interpreter::know_gil(None);
    WITHIN.set(Outer::NOTHING);
}

/// The first thread of a child has its place.
pub(crate) fn after_fork(region: &Region, thread: &Thread) {
    if HAD_AT_FORK.swap(false, Ordering::Relaxed) {
        take(region, thread, 0);
    }
}
