//! Threads: each has a place in the region, found through a thread-local pointer ([`current`]).
//!
//! The place of a thread that has ended is kept if a record refers to it: an order, an event, or a
//! thread that it created or joined. Otherwise the next thread uses it. So a program may create any
//! number of threads.

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::interpreter::{self, Interpreter};
pub(crate) use crate::layout::{ALIVE, ENDED, LEFT_BEHIND};
use crate::layout::{Kind, Lock, Lost, TASK, THREADS_MAX, Thread, What};
use crate::recorded::wipe;
use crate::region::{Region, region};
use crate::{clocks, current, events, locks, memory, restrictions, shared};

thread_local! {
    /// Passes of the key's destructor so far.
    static PASSES: Cell<u32> = const { Cell::new(0) };
}

/// The key whose destructor says that a thread ends, plus one.
static KEY: AtomicU32 = AtomicU32::new(0);

/// Which threads are named by what was recorded.
static NAMED: [AtomicBool; THREADS_MAX] = [const { AtomicBool::new(false) }; THREADS_MAX];
/// A bit for each place that may be taken again, and how many there are.
static FREE: [AtomicU64; THREADS_MAX / 64] = [const { AtomicU64::new(0) }; THREADS_MAX / 64];
static FREE_COUNT: AtomicU32 = AtomicU32::new(0);

/// Being inside the library: the thread's own operations go straight through until it is dropped.
pub(crate) struct Inside {
    pub(crate) region: &'static Region,
    pub(crate) thread: &'static Thread,
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        self.thread.inside.store(0, Ordering::Relaxed);
    }
}

/// Goes inside; `None` when nothing is watched, or the thread is inside already.
#[inline]
pub(crate) fn enter() -> Option<Inside> {
    let region = region()?;
    let current = current::get();
    let current = if current.is_null() {
        register(region)?
    } else {
        current
    };
    // SAFETY: it points into the region, which stays.
    let thread = unsafe { &*current };
    if thread.inside.load(Ordering::Relaxed) != 0 {
        return None;
    }
    thread.inside.store(1, Ordering::Relaxed);
    Some(Inside { region, thread })
}

/// The same, for what does not matter to a process that has no region so far.
#[inline]
pub(crate) fn enter_present() -> Option<Inside> {
    crate::region::present()?;
    enter()
}

/// A place that stands for none: anyone who has it is inside already.
struct Nowhere(UnsafeCell<MaybeUninit<Thread>>);

// SAFETY: of atomics, and only referred to as such.
unsafe impl Sync for Nowhere {}

static NOWHERE: Nowhere = Nowhere(UnsafeCell::new(MaybeUninit::zeroed()));

thread_local! {
    static BEFORE_FORK: Cell<*const Thread> = const { Cell::new(ptr::null()) };
}

fn nowhere() -> &'static Thread {
    // SAFETY: zeros are a thread, and it is never taken away.
    unsafe { (*NOWHERE.0.get()).assume_init_ref() }
}

/// This thread forks. What the handlers of the program that come between this and the fork do, the
/// child's among them, would be written into the parent's record, by two processes at a time.
pub(crate) fn step_aside() {
    nowhere().inside.store(1, Ordering::Relaxed);
    BEFORE_FORK.set(current::get());
    current::set(nowhere());
}

/// The fork is over, in the parent or in the child.
pub(crate) fn step_back() {
    if ptr::eq(current::get(), nowhere()) {
        current::set(BEFORE_FORK.get());
    }
}

/// Whether this thread is about to fork.
pub(crate) fn is_aside() -> bool {
    ptr::eq(current::get(), nowhere())
}

/// The region and this thread's place in it, inside the library or not; for what may happen within
/// anything else, and only writes single words.
pub(crate) fn present() -> Option<(&'static Region, &'static Thread)> {
    let region = crate::region::present().filter(|_| !is_aside())?;
    // SAFETY: null, or it points into the region, which stays.
    let thread = unsafe { current::get().as_ref()? };
    Some((region, thread))
}

/// The same for a thread that may be new here.
pub(crate) fn here() -> Option<(&'static Region, &'static Thread)> {
    let region = region().filter(|_| !is_aside())?;
    let mut current = current::get();
    if current.is_null() {
        current = register(region)?;
    }
    // SAFETY: it points into the region, which stays.
    Some((region, unsafe { &*current }))
}

/// Whether no other thread lives.
pub(crate) fn is_alone(region: &Region) -> bool {
    let living = region.threads_seen().iter().filter(|thread| {
        thread.state.load(Ordering::Relaxed) == ALIVE
            && thread.marks.load(Ordering::Relaxed) & TASK == 0
    });
    living.take(2).count() < 2
}

/// The thread's number.
#[inline]
pub(crate) fn number(region: &Region, thread: &Thread) -> u32 {
    // SAFETY: both point into the same array.
    unsafe { ptr::from_ref(thread).offset_from(region.threads.as_ptr()) as u32 }
}

/// This thread's place, which it takes if it has none.
#[cold]
pub(crate) fn register(region: &'static Region) -> Option<&'static Thread> {
    if current::get().is_null() {
        let number = claim(region)?;
        adopt(region, number);
        if let Some(interpreter) = interpreter::get() {
            interpreter.after_fork(region, &region.threads[number as usize]);
        }
    }
    // SAFETY: it points into the region, which stays.
    Some(unsafe { &*current::get() })
}

/// Takes a place for a thread that is about to be made, or has come unseen.
pub(crate) fn claim(region: &Region) -> Option<u32> {
    if let Some(number) = claim_free() {
        let thread = &region.threads[number as usize];
        for field in [
            &thread.parent,
            &thread.born,
            &thread.joiner,
            &thread.joined,
            &thread.clock_index,
        ] {
            field.store(0, Ordering::Relaxed);
        }
        clocks::clear(&thread.clock);
        return Some(number);
    }
    let number = region.claim(&region.header.threads, THREADS_MAX, Lost::Threads)?;
    Some(number as u32)
}

fn claim_free() -> Option<u32> {
    if FREE_COUNT.load(Ordering::Relaxed) == 0 {
        return None;
    }
    for (position, word) in FREE.iter().enumerate() {
        let bits = word.load(Ordering::Relaxed);
        let bit = bits & bits.wrapping_neg();
        if bit != 0 && word.fetch_and(!bit, Ordering::AcqRel) & bit != 0 {
            FREE_COUNT.fetch_sub(1, Ordering::Relaxed);
            return Some(position as u32 * 64 + bit.trailing_zeros());
        }
    }
    None
}

/// What is written down names the thread: its place stays when it ends. Gives its number.
pub(crate) fn keep(region: &Region, thread: &Thread) -> u32 {
    let number = number(region, thread);
    NAMED[number as usize].store(true, Ordering::Relaxed);
    number
}

/// Whether what was recorded names the thread with a number.
pub(crate) fn is_named(number: u32) -> bool {
    NAMED[number as usize].load(Ordering::Relaxed)
}

/// A thread has ended; its place is free if nothing names it.
pub(crate) fn give_back(region: &Region, thread: &Thread) {
    let number = number(region, thread);
    if !NAMED[number as usize].load(Ordering::Relaxed) {
        thread.handle.store(0, Ordering::Relaxed);
        FREE_COUNT.fetch_add(1, Ordering::Relaxed);
        FREE[number as usize / 64].fetch_or(1 << (number % 64), Ordering::Release);
    }
}

/// This thread takes its place.
pub(crate) fn adopt(region: &'static Region, number: u32) {
    let thread = &region.threads[number as usize];
    // The place may have been a task's.
    for field in [&thread.carrier, &thread.marks, &thread.coroutine] {
        field.store(0, Ordering::Relaxed);
    }
    // SAFETY: `gettid` and `pthread_self` have no conditions.
    unsafe {
        thread.tid.store(libc::gettid() as u32, Ordering::Relaxed);
        thread.handle.store(libc::pthread_self(), Ordering::Relaxed);
    }
    name(thread);
    thread.title.store(0, Ordering::Relaxed);
    thread.title_tries.store(0, Ordering::Relaxed);
    let moment = region.header.segments.fetch_add(1, Ordering::Relaxed);
    thread.segment.store(moment, Ordering::Relaxed);
    thread.state.store(ALIVE, Ordering::Release);
    current::set(thread);
    let key = KEY.load(Ordering::Relaxed);
    if key != 0 {
        // SAFETY: the key is ours; its value is not null, so its destructor runs.
        unsafe { libc::pthread_setspecific(key - 1, ptr::from_ref(thread).cast()) };
    }
}

fn name(thread: &Thread) {
    let mut bytes = [0_u8; 16];
    if !restrictions::has_filter() {
        // SAFETY: PR_GET_NAME writes at most 16 bytes.
        unsafe { libc::prctl(libc::PR_GET_NAME, bytes.as_mut_ptr()) };
    }
    for (slot, byte) in thread.name.iter().zip(bytes) {
        slot.store(byte, Ordering::Relaxed);
    }
}

/// Makes the key that reports threads' ends.
pub(crate) fn open() {
    let mut key = 0;
    // SAFETY: the destructor fits the key's type and stays loaded with this library.
    if unsafe { libc::pthread_key_create(&raw mut key, Some(on_end)) } == 0 {
        KEY.store(key + 1, Ordering::Relaxed);
    }
}

/// In a new child the thread that forked is the only one, and has no place yet.
pub(crate) fn forget() {
    current::set(ptr::null());
    FREE_COUNT.store(0, Ordering::Relaxed);
    // SAFETY: statics of atomics that are zeroed at first.
    unsafe {
        wipe(&raw const NAMED);
        wipe(&raw const FREE);
    }
}

/// A thread ends, and holds locks still. A robust mutex is made for that: the next owner is
/// informed. An interpreter that ends takes its daemon threads away wherever they are, and so with
/// the locks of its own that they hold.
fn tell_held(region: &Region, thread: &Thread, is_told: impl Fn(&Lock) -> bool) {
    let count = thread.held_count.load(Ordering::Relaxed) as usize;
    for held in &thread.held[..count.min(thread.held.len())] {
        let number = held.lock.load(Ordering::Relaxed);
        let lock = locks::lock(region, number);
        let address = held.address.load(Ordering::Relaxed);
        if held.depth.load(Ordering::Relaxed) > 0
            && is_told(lock)
            && !(locks::is_python(region, number) && is_interpreter_ending())
            && memory::is_mapped(address)
            && !shared::is_robust(lock.kind.load(Ordering::Relaxed), address)
        {
            let site = held.site.load(Ordering::Relaxed);
            events::record(region, thread, What::EndedHolding, number, 0, site, false);
        }
    }
}

/// The process ends: what it holds of locks that others share stays held.
pub(crate) fn tell_shared(region: &Region) {
    for thread in region.threads_seen() {
        if thread.state.load(Ordering::Relaxed) == ALIVE {
            tell_held(region, thread, |lock| {
                // Semaphores may be for others to post.
                let kind = lock.kind.load(Ordering::Relaxed);
                let is_owned = kind < Kind::Semaphore as u32;
                is_owned && lock.shared.load(Ordering::Relaxed) != 0
            });
        }
    }
}

/// A thread's destructors run. Others of its may still use locks: so ours asks to run again, as
/// often as it may (`PTHREAD_DESTRUCTOR_ITERATIONS` is 4).
extern "C" fn on_end(value: *mut c_void) {
    let passes = PASSES.get() + 1;
    PASSES.set(passes);
    if passes < 4 {
        let key = KEY.load(Ordering::Relaxed);
        // SAFETY: the key is ours.
        unsafe { libc::pthread_setspecific(key - 1, value) };
        return;
    }
    if let Some(inside) = enter() {
        let Inside { region, thread } = &inside;
        tell_held(region, thread, |_| true);
        thread.state.store(ENDED, Ordering::Release);
        give_back(region, thread);
    }
}

fn is_interpreter_ending() -> bool {
    interpreter::get().is_some_and(Interpreter::is_ending)
}
