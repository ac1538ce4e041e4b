//! Locks in memory that several processes share, and how such a lock is recognised as the same lock
//! in all of them.
//!
//! Each process sees it at a different address. But the memory is the same: the device and inode of
//! the mapped file and the offset in it, which `/proc/self/maps` shows (proc(5)). Anonymous memory
//! that is shared by a fork is a file too (of the kernel's own shared memory), with an inode that
//! no other mapping has.
//!
//! This is looked up once per lock, when the lock is first seen, and only if the lock itself says
//! that it is shared: glibc stores this in the lock. A spin lock does not contain it, so it is
//! always looked up.

use std::ffi::c_int;
use std::sync::atomic::Ordering;

use crate::layout::{Kind, Lock, Lost, SHARED_MAX};
use crate::region::Region;
use crate::unseen::{self, Use};
use crate::{clock, locks, restrictions};

/// `PTHREAD_MUTEX_PSHARED_BIT` and `PTHREAD_MUTEX_ROBUST_NORMAL_NP` in a mutex's kind
/// (glibc `nptl/pthreadP.h`).
const MUTEX_SHARED: c_int = 128;
const MUTEX_ROBUST: c_int = 16;
/// Words of glibc's structures: the mutex's kind and owner, the read-write lock's writer and
/// whether it is shared, the same of the semaphore.
const MUTEX_KIND: usize = 4;
const MUTEX_OWNER: usize = 2;
const READ_WRITE_OWNER: usize = 6;
const READ_WRITE_SHARED: usize = 7;
const SEMAPHORE_SHARED: usize = 2;
const LINE_BYTES: usize = 4096;

fn word(address: u64, number: usize) -> c_int {
    // SAFETY: a lock that the program uses is as large as the C library says.
    unsafe { (address as *const c_int).add(number).read_volatile() }
}

/// Whether it is a mutex that tells the next one when its owner has ended.
pub(crate) fn is_robust(kind: u32, address: u64) -> bool {
    kind == Kind::Mutex as u32 && word(address, MUTEX_KIND) & MUTEX_ROBUST != 0
}

/// The thread that holds a lock exclusively, as the C library keeps it in the lock; 0 where nobody
/// does, or the lock does not tell.
pub(crate) fn owner(kind: u32, address: u64) -> c_int {
    if kind == Kind::Mutex as u32 {
        word(address, MUTEX_OWNER)
    } else if kind == Kind::ReadWrite as u32 {
        word(address, READ_WRITE_OWNER)
    } else {
        0
    }
}

fn may_be_shared(kind: Kind, address: u64) -> bool {
    match kind {
        Kind::Mutex => word(address, MUTEX_KIND) & MUTEX_SHARED != 0,
        Kind::ReadWrite => word(address, READ_WRITE_SHARED) != 0,
        Kind::Semaphore | Kind::PythonSemaphore => word(address, SEMAPHORE_SHARED) != 0,
        Kind::Spin => true,
        _ => false,
    }
}

/// Finds out where a lock that is met for the first time lies, if other processes may have it too.
pub(crate) fn know(region: &Region, lock_number: u32, kind: Kind, address: u64) {
    let lock = locks::lock(region, lock_number);
    // The entry's last lock may have been one: its place is taken again.
    let before = lock.shared.swap(0, Ordering::Relaxed).checked_sub(1);
    if !may_be_shared(kind, address) {
        return;
    }
    let Some(place) = place_of(address) else {
        return;
    };
    let number = before
        .map(|number| number as usize)
        .or_else(|| region.claim(&region.header.shared, SHARED_MAX, Lost::Shared));
    let Some(number) = number else {
        return;
    };
    let shared = &region.shared[number];
    shared.is_made.store(0, Ordering::Relaxed);
    shared.device.store(place.device, Ordering::Relaxed);
    shared.inode.store(place.inode, Ordering::Relaxed);
    shared.offset.store(place.offset, Ordering::Relaxed);
    shared.entered.store(clock::now(), Ordering::Relaxed);
    let robust = u32::from(is_robust(kind as u32, address));
    shared.is_robust.store(robust, Ordering::Relaxed);
    shared.lock.store(lock_number, Ordering::Relaxed);
    lock.shared.store(number as u32 + 1, Ordering::Release);
}

/// This process has made the lock just now.
pub(crate) fn made(region: &Region, lock: &Lock) {
    let number = lock.shared.load(Ordering::Relaxed);
    if number != 0 {
        region.shared[number as usize - 1]
            .is_made
            .store(1, Ordering::Release);
    }
}

/// Where a byte of shared memory comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    device: u64,
    inode: u64,
    offset: u64,
}

/// Where the memory at an address comes from; nothing where it is this process's own.
#[cold]
pub(crate) fn place_of(address: u64) -> Option<Origin> {
    let mut found = None;
    each_mapping(|line| {
        found = origin_in(line, address);
        found.is_none()
    });
    found.filter(|origin| origin.inode != 0)
}

/// The process ends: notes whether a lock lies in shared memory without saying so.
pub(crate) fn tell_private(region: &Region) {
    let count = region.header.locks.load(Ordering::Relaxed) as usize;
    let locks = &region.locks[..count.min(region.locks.len())];
    let is_private = |lock: &&Lock| {
        let kind = lock.kind.load(Ordering::Relaxed);
        let has_word = [Kind::Mutex, Kind::ReadWrite, Kind::Semaphore].map(|each| each as u32);
        has_word.contains(&kind) && lock.shared.load(Ordering::Relaxed) == 0
    };
    each_mapping(|line| {
        let Some((start, end, access)) = span_in(line) else {
            return true;
        };
        let is_shared = access.get(1) == Some(&b'w') && access.get(3) == Some(&b's');
        let has_lock = is_shared
            && locks
                .iter()
                .filter(is_private)
                .any(|lock| (start..end).contains(&lock.address.load(Ordering::Relaxed)));
        if has_lock {
            unseen::note(Use::Private);
        }
        !has_lock
    });
}

/// Visits the lines of the process's map until `visit` has seen enough.
#[inline(never)] // The line that it reads is on the stack.
pub(crate) fn each_mapping(mut visit: impl FnMut(&[u8]) -> bool) {
    if restrictions::has_filter() {
        return;
    }
    // Calls of the kernel itself: the C library's functions are places at which a thread may be
    // cancelled, and a lock's operation is none.
    // SAFETY: the path ends with a zero; the descriptor is ours.
    let file = unsafe {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        let path = c"/proc/self/maps".as_ptr();
        libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags)
    };
    if file < 0 {
        return;
    }
    let mut buffer = [0_u8; LINE_BYTES];
    let mut filled = 0;
    let mut goes_on = true;
    while goes_on {
        let rest = &mut buffer[filled..];
        // SAFETY: the kernel writes at most as much as there is room.
        let count = unsafe { libc::syscall(libc::SYS_read, file, rest.as_mut_ptr(), rest.len()) };
        if count <= 0 {
            break;
        }
        filled += count as usize;
        let mut begin = 0;
        while let Some(length) = buffer[begin..filled].iter().position(|byte| *byte == b'\n') {
            goes_on = goes_on && visit(&buffer[begin..begin + length]);
            begin += length + 1;
        }
        if begin == 0 {
            break;
        }
        buffer.copy_within(begin..filled, 0);
        filled -= begin;
    }
    // SAFETY: the descriptor is ours.
    unsafe { libc::syscall(libc::SYS_close, file) };
}

/// Where a mapping begins and ends, and how it may be accessed.
pub(crate) fn span_in(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut span = fields.next()?.split(|byte| *byte == b'-');
    let (start, end) = (hexadecimal(span.next()?)?, hexadecimal(span.next()?)?);
    Some((start, end, fields.next()?))
}

/// What a line of the map says of an address; inode 0 for memory that is not shared.
fn origin_in(line: &[u8], address: u64) -> Option<Origin> {
    let mut fields = line
        .split(|byte| *byte == b' ')
        .filter(|part| !part.is_empty());
    let mut span = fields.next()?.split(|byte| *byte == b'-');
    let start = hexadecimal(span.next()?)?;
    let end = hexadecimal(span.next()?)?;
    if !(start..end).contains(&address) {
        return None;
    }
    let access = fields.next()?;
    let offset = hexadecimal(fields.next()?)?;
    let mut device = fields.next()?.split(|byte| *byte == b':');
    let device = hexadecimal(device.next()?)? << 32 | hexadecimal(device.next()?)?;
    let inode = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let is_shared = access.get(3) == Some(&b's');
    Some(Origin {
        device,
        inode: if is_shared { inode } else { 0 },
        offset: offset + (address - start),
    })
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
