//! The log of the full mode: every acquisition of a lock, with its times and its stack.
//!
//! It is a file next to the record of the process, `PID-TIME.log`: a page that describes the
//! contents, and an array of acquisitions. A thread reserves room for a thousand acquisitions at a
//! time and fills it by itself, so threads do not wait for each other. An acquisition is written
//! when the lock is taken. The time of the release is added later, by the thread that releases it.
//! So even a process that was killed or that hangs leaves a complete log.
//!
//! The mode is on if `VESPIARY_LOCKS_FULL` contains the number of bytes that all processes of a run
//! may write together. How many they have written is counted in another file of the folder, `full`,
//! which exists before them and which all of them map. Acquisitions that do not fit are counted and
//! reported. The memory is populated before it is used (madvise(2), `MADV_POPULATE_WRITE`, Linux
//! 5.14). So if the disk is full, only the log is incomplete; otherwise SIGBUS would end the
//! program.
//!
//! If the mode is off, an operation only checks a pointer that never changes.

use std::cell::Cell;
use std::ffi::CStr;
use std::io::Write as _;
use std::mem::size_of;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

pub(crate) use crate::layout::{AFTER_WAIT, CONTENDED, TRIED};
use crate::layout::{
    AGAIN, Acquisition as Entry, FAILED, Held, LOG_MAGIC as MAGIC, LogHead as Head, READY, SHARED,
    Thread,
};
use crate::notes::RECORD_BYTES;
use crate::region::Region;
use crate::{clock, locks, restrictions, stacks, threads};

const PAGE: usize = 4096;
/// Acquisitions that a thread takes room for: forty kilobytes, whole pages.
const ROOM: u32 = 1024;
const ROOM_BYTES: usize = ROOM as usize * size_of::<Entry>();
/// Where the address space is limited, less is mapped; not less than this.
const BYTES_MIN: usize = 1 << 20;

static HEAD: AtomicPtr<Head> = AtomicPtr::new(ptr::null_mut());
/// Bytes that the run's processes have taken so far.
static TAKEN: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
static BYTES_MAX: AtomicU64 = AtomicU64::new(0);
/// Some thread found no room.
static IS_FULL: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The next entry of this thread, and the end of its room.
    static NEXT: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// Whether acquisitions are kept.
#[inline]
pub(crate) fn is_on() -> bool {
    !HEAD.load(Ordering::Relaxed).is_null()
}

/// What is known about an acquisition before it happens; nothing if the mode is off.
#[derive(Clone, Copy, Default)]
pub(crate) struct Request {
    since: u64,
    stack: u32,
    how: u32,
}

impl Request {
    /// A lock is wanted now. The stack is captured before, so that no thread waits for this.
    #[inline]
    pub(crate) fn begin(region: &Region, site: u64, how: u32) -> Self {
        if is_on() {
            Self::begin_full(region, site, how)
        } else {
            Self::default()
        }
    }

    #[cold]
    fn begin_full(region: &Region, site: u64, how: u32) -> Self {
        let (next, end) = NEXT.get();
        if next == end && IS_FULL.load(Ordering::Relaxed) {
            return Self::default();
        }
        let stack = stacks::capture(region, site);
        let since = clock::now();
        Self { since, stack, how }
    }

    /// Of a call that is not inside the library yet.
    #[inline]
    pub(crate) fn outside(site: u64, how: u32) -> Self {
        if !is_on() {
            return Self::default();
        }
        threads::enter().map_or_else(Self::default, |inside| {
            Self::begin_full(inside.region, site, how)
        })
    }

    /// Another thread has the lock.
    pub(crate) fn meets_another(&mut self) {
        self.how |= CONTENDED;
    }

    /// What came before does not count as waiting.
    pub(crate) fn begins_now(&mut self) {
        if is_on() {
            self.since = clock::now();
        }
    }
}

/// The lock is taken, for the first time or again; what is held tells its entry from now on.
#[cold]
pub(crate) fn taken(
    region: &Region,
    thread: &Thread,
    held: &Held,
    request: &Request,
    is_again: bool,
) {
    let now = clock::now();
    let mode = held.mode.load(Ordering::Relaxed) * SHARED;
    let lock = held.lock.load(Ordering::Relaxed);
    let again = if is_again { AGAIN } else { 0 };
    let how = request.how | mode | again;
    // Taken again it is released at once: the hold is the first one's.
    let released = if is_again { now } else { 0 };
    let entry = write(region, thread, (lock, how), request, (now, released));
    if !is_again {
        held.log.store(entry, Ordering::Relaxed);
    }
}

/// The lock was tried, and not got.
#[cold]
pub(crate) fn failed(region: &Region, thread: &Thread, lock: u32, request: &Request) {
    let how = request.how | FAILED | CONTENDED;
    write(region, thread, (lock, how), request, (0, clock::now()));
}

/// The lock is released.
#[inline]
pub(crate) fn let_go(held: &Held) {
    if is_on() {
        let_go_full(held);
    }
}

#[cold]
fn let_go_full(held: &Held) {
    let place = held.log.swap(0, Ordering::Relaxed);
    if place != 0
        && let Some(entry) = entry(place - 1)
    {
        entry.released.store(clock::now(), Ordering::Relaxed);
    }
}

/// Where a held lock was taken, plus one; 0 where that is not kept.
pub(crate) fn stack_of(held: &Held) -> u32 {
    let place = held.log.load(Ordering::Relaxed);
    place
        .checked_sub(1)
        .and_then(entry)
        .map_or(0, |entry| entry.stack.load(Ordering::Relaxed))
}

/// Writes an entry; gives its place plus one, 0 when there was no room.
fn write(
    region: &Region,
    thread: &Thread,
    (lock, how): (u32, u32),
    request: &Request,
    (taken, released): (u64, u64),
) -> u32 {
    let Some((place, entry)) = next() else {
        return 0;
    };
    locks::keep(region, lock);
    let thread = threads::keep(region, thread);
    let is_known = request.since != 0;
    let wanted = if is_known { request.since } else { taken };
    entry.wanted.store(wanted, Ordering::Relaxed);
    entry.taken.store(taken, Ordering::Relaxed);
    entry.released.store(released, Ordering::Relaxed);
    entry.lock.store(lock, Ordering::Relaxed);
    entry.thread.store(thread, Ordering::Relaxed);
    entry.stack.store(request.stack, Ordering::Relaxed);
    entry.how.store(how | READY, Ordering::Release);
    place + 1
}

fn head() -> Option<&'static Head> {
    // SAFETY: null, or the start of a mapping that is never unmapped.
    unsafe { HEAD.load(Ordering::Acquire).as_ref() }
}

fn entry(place: u32) -> Option<&'static Entry> {
    let head = head()?;
    let base = ptr::from_ref(head);
    // SAFETY: places are below `entries_max`, for which the mapping has room behind its first page.
    Some(unsafe { &*base.byte_add(PAGE).cast::<Entry>().add(place as usize) })
}

/// This thread's next entry.
fn next() -> Option<(u32, &'static Entry)> {
    let (mut place, mut end) = NEXT.get();
    if place == end {
        let head = head()?;
        let Some(room) = claim(head) else {
            IS_FULL.store(true, Ordering::Relaxed);
            head.lost.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        (place, end) = (room, room + ROOM);
    }
    NEXT.set((place + 1, end));
    Some((place, entry(place)?))
}

/// Room for some acquisitions, in memory that is there.
fn claim(head: &Head) -> Option<u32> {
    if head.entries.load(Ordering::Relaxed) >= head.entries_max {
        return None;
    }
    // SAFETY: null, or a mapping that is never unmapped.
    let taken = unsafe { TAKEN.load(Ordering::Acquire).as_ref()? };
    let bytes = ROOM_BYTES as u64;
    if taken.fetch_add(bytes, Ordering::Relaxed) + bytes > BYTES_MAX.load(Ordering::Relaxed) {
        taken.fetch_sub(bytes, Ordering::Relaxed);
        return None;
    }
    let room = head.entries.fetch_add(ROOM, Ordering::Relaxed);
    if room >= head.entries_max {
        head.entries.fetch_sub(ROOM, Ordering::Relaxed);
        return None;
    }
    is_populated(entry(room)?).then_some(room)
}

/// Makes the memory behind an entry and those after it; `false` when there is none.
fn is_populated(first: &Entry) -> bool {
    if restrictions::has_filter() {
        return false;
    }
    let base = ptr::from_ref(first).cast_mut().cast();
    // SAFETY: whole pages of our own mapping, whose contents stay. The system call itself, since
    // `errno` is restored by hand either way.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let result = libc::madvise(base, ROOM_BYTES, libc::MADV_POPULATE_WRITE);
        let is_older_kernel = *errno == libc::EINVAL;
        *errno = before;
        result == 0 || is_older_kernel
    }
}

/// Makes this process's log, if the environment asks for it. `stem` is the record's path without
/// its ending.
pub(crate) fn open(folder: &[u8], stem: &[u8]) {
    // SAFETY: the name ends with a zero; nothing changes the environment while a process starts.
    let text = unsafe { libc::getenv(c"VESPIARY_LOCKS_FULL".as_ptr()) };
    if text.is_null() {
        return;
    }
    // SAFETY: an environment's value ends with a zero.
    let text = unsafe { CStr::from_ptr(text) }.to_str();
    let Some(most) = text.ok().and_then(|text| text.parse::<u64>().ok()) else {
        return;
    };
    let Some((taken, _)) = map([folder, b"/full"], PAGE, PAGE, 0) else {
        return;
    };
    let rooms = (most as usize / ROOM_BYTES).min(u32::MAX as usize / ROOM as usize);
    let wanted = PAGE + rooms.max(1) * ROOM_BYTES;
    let fresh = libc::O_CREAT | libc::O_TRUNC;
    let least = wanted.min(BYTES_MIN);
    let Some((base, bytes)) = map([stem, b".log"], wanted, least, fresh) else {
        return;
    };
    BYTES_MAX.store(most, Ordering::Relaxed);
    TAKEN.store(taken.cast(), Ordering::Release);
    let head = base.cast::<Head>();
    let entries_max = (bytes - PAGE) / ROOM_BYTES * ROOM as usize;
    // SAFETY: a fresh mapping of more than a page, which nobody else knows yet.
    unsafe {
        (*head).pid = std::process::id();
        (*head).entry_bytes = size_of::<Entry>() as u32;
        (*head).entries_max = entries_max as u32;
        ptr::addr_of_mut!((*head).magic).write_volatile(MAGIC);
    }
    HEAD.store(head, Ordering::Release);
}

/// The process ends: what is still held was held until now.
pub(crate) fn end() {
    if let Some(head) = head() {
        head.ended.store(clock::now(), Ordering::Release);
    }
}

/// From now on nothing is kept: a child has not made its own log yet.
pub(crate) fn forget() {
    HEAD.store(ptr::null_mut(), Ordering::Release);
    IS_FULL.store(false, Ordering::Relaxed);
    NEXT.set((0, 0));
}

/// Maps a file of this many bytes, or of fewer where there is a limit, but `least`; with how many.
fn map(
    parts: [&[u8]; 2],
    bytes: usize,
    least: usize,
    flags: i32,
) -> Option<(*mut libc::c_void, usize)> {
    let mut path = [0_u8; RECORD_BYTES];
    let mut rest = path.as_mut_slice();
    for part in [parts[0], parts[1], b"\0"] {
        rest.write_all(part).ok()?;
    }
    let mut bytes = bytes.min(file_bytes_max());
    // SAFETY: the path ends with a zero; the descriptor is ours and closed once it is mapped.
    unsafe {
        let flags = flags | libc::O_RDWR | libc::O_CLOEXEC;
        let file = restrictions::open(&path, flags, 0o600);
        if file < 0 {
            return None;
        }
        let mut found = None;
        while found.is_none() && bytes >= least {
            if libc::ftruncate(file, bytes as libc::off_t) == 0 {
                let access = libc::PROT_READ | libc::PROT_WRITE;
                let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
                let base = libc::mmap(ptr::null_mut(), bytes, access, flags, file, 0);
                found = (base != libc::MAP_FAILED).then_some((base, bytes));
            }
            bytes /= 2;
        }
        libc::close(file);
        found
    }
}

/// The largest file that this process may make: beyond it, it would be ended (setrlimit(2)).
fn file_bytes_max() -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is ours and lives through the call.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) };
    if result == 0 {
        usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
    } else {
        usize::MAX
    }
}
