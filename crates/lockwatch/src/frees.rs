//! Freeing and unmapping memory that may contain locks ([`memory`]).

use std::ffi::{c_int, c_void};

use crate::{loader, memory, real, region};

type Free = unsafe extern "C" fn(*mut c_void);
type Unmap = unsafe extern "C" fn(*mut c_void, usize) -> c_int;
type Map =
    unsafe extern "C" fn(*mut c_void, usize, c_int, c_int, c_int, libc::off_t) -> *mut c_void;
type Remap = unsafe extern "C" fn(*mut c_void, usize, usize, c_int, *mut c_void) -> *mut c_void;
type Detach = unsafe extern "C" fn(*const c_void) -> c_int;
type Reallocate = unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;

#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    if block.is_null() {
        return;
    }
    loader::freed();
    memory::leave(block);
    // SAFETY: what the caller gave is passed on. While the function is being looked up, a block is
    // lost instead.
    unsafe {
        if let Some(free) = real::FREE.try_get::<Free>() {
            free(block);
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(block: *mut c_void, bytes: usize) -> *mut c_void {
    // SAFETY: what the caller gave is passed on.
    unsafe {
        let Some(real) = real::REALLOC.try_get::<Reallocate>() else {
            return std::ptr::null_mut();
        };
        if block.is_null() || region::present().is_none() {
            return real(block, bytes);
        }
        let before = libc::malloc_usable_size(block) as u64;
        let has_locks = memory::has_lock(block as u64, before);
        let new = real(block, bytes);
        if has_locks && new != block && !new.is_null() {
            // The old block may be somebody else's by now; that a lock ends early only makes its
            // successor a new one.
            memory::end_all(block as u64, before);
        }
        new
    }
}

/// Before the memory is gone: afterwards it may be another thread's.
#[unsafe(no_mangle)]
unsafe extern "C" fn munmap(address: *mut c_void, bytes: usize) -> c_int {
    memory::unmap(address as u64, bytes as u64);
    // SAFETY: what the caller gave is passed on.
    unsafe { real::UNMAP.get::<Unmap>()(address, bytes) }
}

/// A mapping at a fixed address replaces what was there, and the locks in it. They end when it is
/// done: nobody else gets this address meanwhile, and where it fails they are still there.
#[unsafe(no_mangle)]
unsafe extern "C" fn mmap(
    address: *mut c_void,
    bytes: usize,
    access: c_int,
    flags: c_int,
    file: c_int,
    offset: libc::off_t,
) -> *mut c_void {
    // SAFETY: what the caller gave is passed on.
    let now = unsafe { real::MAP.get::<Map>()(address, bytes, access, flags, file, offset) };
    if flags & libc::MAP_FIXED != 0 && now != libc::MAP_FAILED {
        memory::unmap(now as u64, bytes as u64);
    }
    now
}

/// The same function: offsets have 64 bits anyway on the processors that this is for.
#[unsafe(no_mangle)]
unsafe extern "C" fn mmap64(
    address: *mut c_void,
    bytes: usize,
    access: c_int,
    flags: c_int,
    file: c_int,
    offset: libc::off_t,
) -> *mut c_void {
    // SAFETY: what the caller gave is passed on.
    unsafe { mmap(address, bytes, access, flags, file, offset) }
}

/// A mapping is moved, enlarged or cut: the locks in what is not there any more end. At its new
/// address, a lock is a new one. The last argument is there for some flags only.
#[unsafe(no_mangle)]
unsafe extern "C" fn mremap(
    address: *mut c_void,
    before: usize,
    after: usize,
    flags: c_int,
    to: *mut c_void,
) -> *mut c_void {
    // SAFETY: what the caller gave is passed on.
    let now = unsafe { real::REMAP.get::<Remap>()(address, before, after, flags, to) };
    if now == libc::MAP_FAILED {
        return now;
    }
    if flags & libc::MREMAP_FIXED != 0 {
        memory::unmap(now as u64, after as u64);
    }
    let before = memory::in_pages(before as u64);
    let after = memory::in_pages(after as u64);
    if now != address {
        memory::unmap(address as u64, before);
    } else if after < before {
        memory::unmap(address as u64 + after, before - after);
    }
    now
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shmdt(address: *const c_void) -> c_int {
    // SAFETY: the same.
    let result = unsafe { real::DETACH.get::<Detach>()(address) };
    if result == 0 {
        memory::end_unmapped();
    }
    result
}
