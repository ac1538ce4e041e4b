//! Freeing memory that may contain locks ([`memory`]).

use std::ffi::c_void;

use crate::{loader, memory, real, region};

type Free = unsafe extern "C" fn(*mut c_void);
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
