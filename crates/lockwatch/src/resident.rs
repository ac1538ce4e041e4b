//! Locking all memory (`mlockall(2)`), but not the record.
//!
//! The record is mapped with all the room that it may ever need, a quarter of a gigabyte, of which
//! a program uses a small part. `mlockall` would make all of it resident in each process. For a
//! process that may lock only some memory (`RLIMIT_MEMLOCK`), the call would fail because of it,
//! since the kernel compares the limit with the whole address space. So the record, the log, the
//! other tables and this library itself stay as they are: all memory is locked on its first
//! use, theirs is unlocked, and the rest is made resident mapping by mapping. Where the limit is
//! too low for the record but not for the program, the program's mappings are locked one by one.
//!
//! The kernel ignores mappings that cannot be made resident, such as guard pages. This does too.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::shared::{each_mapping, span_in};
use crate::{loaded, notes, real, region, threads};

type LockAll = unsafe extern "C" fn(c_int) -> c_int;
type Span = (u64, u64);

const TABLES_MAX: usize = 8;

/// Where the tables of [`crate::mapped`] and this library begin and end; zeros at the end.
static TABLES: [(AtomicU64, AtomicU64); TABLES_MAX] =
    [const { (AtomicU64::new(0), AtomicU64::new(0)) }; TABLES_MAX];

/// A table was mapped, and `before` is not any more (0 for none).
pub(crate) fn replace(before: u64, start: u64, bytes: usize) {
    let place = TABLES.iter().find(|(from, _)| {
        let result = from.compare_exchange(before, start, Ordering::AcqRel, Ordering::Acquire);
        result.is_ok()
    });
    if let Some((_, end)) = place {
        end.store(start + bytes as u64, Ordering::Release);
    }
}

/// This library is left out too: its own tables have ten megabytes.
fn know_library() {
    static IS_KNOWN: AtomicBool = AtomicBool::new(false);
    const PAGE: u64 = 4096;
    if IS_KNOWN.swap(true, Ordering::AcqRel) {
        return;
    }
    let here = &raw const TABLES as u64;
    let found = loaded::find(|info| {
        let start = loaded::spans(info).map(|(start, _)| start).min()?;
        let end = loaded::spans(info).map(|(_, end)| end).max()?;
        (start..end).contains(&here).then_some((start, end))
    });
    if let Some((start, end)) = found {
        replace(0, start, (end.next_multiple_of(PAGE) - start) as usize);
    }
}

/// Calls with each part of a mapping that is not a table's.
fn parts((start, end): Span, mut visit: impl FnMut(Span)) {
    let mut rest = start;
    while rest < end {
        let next = TABLES
            .iter()
            .map(|(from, to)| (from.load(Ordering::Acquire), to.load(Ordering::Acquire)))
            .filter(|(from, to)| *to > rest && *from < end && from < to)
            .min();
        let Some((from, to)) = next else {
            return visit((rest, end));
        };
        if from > rest {
            visit((rest, from));
        }
        rest = to;
    }
}

/// Visits the memory of the program, and that of the record and its tables.
fn each(mut of_program: impl FnMut(Span), mut of_record: impl FnMut(Span)) {
    notes::with_folder(|folder| {
        each_mapping(|line| {
            let Some((start, end, _)) = span_in(line) else {
                return true;
            };
            let path = line.iter().position(|byte| *byte == b'/');
            if path.is_some_and(|at| line[at..].starts_with(folder)) {
                of_record((start, end));
            } else {
                parts((start, end), &mut of_program);
            }
            true
        });
    });
    for (start, end) in &TABLES {
        let span = (start.load(Ordering::Acquire), end.load(Ordering::Acquire));
        if span.0 != 0 {
            of_record(span);
        }
    }
}

fn lock((start, end): Span, is_on_use: bool) {
    let bytes = (end - start) as usize;
    let flags = if is_on_use { libc::MLOCK_ONFAULT } else { 0 };
    // SAFETY: locking a mapping changes none of its contents; where there is none it is an error.
    unsafe { libc::syscall(libc::SYS_mlock2, start, bytes, flags) };
}

fn unlock((start, end): Span) {
    // SAFETY: the same.
    unsafe { libc::munlock(start as *const c_void, (end - start) as usize) };
}

/// How much memory this process may lock.
fn bytes_max() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is ours and lives through the call.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    limit.rlim_cur
}

fn errno() -> c_int {
    // SAFETY: the thread's own.
    unsafe { *libc::__errno_location() }
}

fn set_errno(error: c_int) {
    // SAFETY: the same.
    unsafe { *libc::__errno_location() = error };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mlockall(flags: c_int) -> c_int {
    // SAFETY: the function's type.
    let real = unsafe { real::LOCK_ALL.get::<LockAll>() };
    // A record that is mapped later would be resident as a whole.
    let inside = threads::enter();
    know_library();
    drop(inside);
    if flags & libc::MCL_CURRENT == 0 || region::present().is_none() {
        // SAFETY: what the caller gave is passed on.
        return unsafe { real(flags) };
    }
    let before = errno();
    let is_on_use = flags & libc::MCL_ONFAULT != 0;
    // SAFETY: flags of mlockall(2).
    if unsafe { real(flags | libc::MCL_ONFAULT) } == 0 {
        let of_program = |span| {
            if !is_on_use {
                lock(span, false);
            }
        };
        each(of_program, unlock);
    } else if errno() == libc::ENOMEM {
        let mut bytes = 0;
        each(|(start, end)| bytes += end - start, |_| ());
        if bytes > bytes_max() {
            set_errno(libc::ENOMEM);
            return -1;
        }
        each(|span| lock(span, is_on_use), |_| ());
    } else {
        // Refused whatever is mapped, or by a kernel before 4.4, which cannot lock on use.
        // SAFETY: what the caller gave is passed on.
        return unsafe { real(flags) };
    }
    set_errno(before);
    let future = flags & libc::MCL_FUTURE;
    if future == 0 {
        return 0;
    }
    // For itself, this changes only what is mapped from now on.
    // SAFETY: flags of mlockall(2).
    unsafe { real(future | flags & libc::MCL_ONFAULT) }
}
