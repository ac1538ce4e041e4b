//! Freeing and unmapping memory that may contain locks ([`memory`]).

use std::ffi::{c_int, c_void};

use crate::{loader, memory, real, region};

type Free = unsafe extern "C" fn(*mut c_void);
type Unmap = unsafe extern "C" fn(*mut c_void, usize) -> c_int;
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

#[unsafe(no_mangle)]
unsafe extern "C" fn shmdt(address: *const c_void) -> c_int {
    // SAFETY: the same.
    let result = unsafe { real::DETACH.get::<Detach>()(address) };
    if result == 0 {
        memory::end_unmapped();
    }
    result
}
