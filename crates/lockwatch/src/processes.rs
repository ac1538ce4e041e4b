//! Processes that this one starts and waits for: what it did before the start comes before all that
//! they do, and all that they did comes before what it does after it has waited for them.
//!
//! This is noted only if locks were seen already: a shell that starts many programs has no record.
//! A child that is watched has its own region, and is found by its number.

use std::ffi::c_int;
use std::mem::zeroed;
use std::sync::atomic::Ordering;

use libc::{idtype_t, pid_t, rusage, siginfo_t};

use crate::calls::export;
use crate::execs::quietly;
use crate::forks;
use crate::layout::{CHILDREN_MAX, Lost};
use crate::threads::{self, Inside};
use crate::{clock, real, region};

type Fork = unsafe extern "C" fn() -> pid_t;
type WaitPid = unsafe extern "C" fn(pid_t, *mut c_int, c_int) -> pid_t;
type Wait4 = unsafe extern "C" fn(pid_t, *mut c_int, c_int, *mut rusage) -> pid_t;
type WaitId = unsafe extern "C" fn(idtype_t, libc::id_t, *mut siginfo_t, c_int) -> c_int;

export!(fork => fork_from, 0);

/// There is a new child, made by this thread.
pub(crate) extern "C" fn made(child: pid_t) {
    if region::present().is_none() {
        return;
    }
    let Some(inside) = threads::enter() else {
        return;
    };
    let Inside { region, thread } = &inside;
    let counter = &region.header.children;
    let Some(number) = region.claim(counter, CHILDREN_MAX, Lost::Children) else {
        return;
    };
    let maker = threads::keep(region, thread);
    let place = &region.children[number];
    place.maker.store(maker, Ordering::Relaxed);
    place.born.store(region.moment(), Ordering::Relaxed);
    place.made.store(clock::now(), Ordering::Relaxed);
    place.pid.store(child as u32, Ordering::Release);
    thread.segment.store(region.moment(), Ordering::Relaxed);
}

/// A child has ended, and this thread has waited for it.
fn waited(child: pid_t) {
    if region::present().is_none() {
        return;
    }
    let Some(inside) = threads::enter() else {
        return;
    };
    let Inside { region, thread } = &inside;
    let count = region.header.children.load(Ordering::Relaxed) as usize;
    let ended = region.children[..count.min(CHILDREN_MAX)]
        .iter()
        .rev()
        .find(|place| place.pid.load(Ordering::Acquire) == child as u32);
    if let Some(place) = ended
        && place.waiter.load(Ordering::Relaxed) == 0
    {
        place.waited.store(region.moment(), Ordering::Relaxed);
        place.ended.store(clock::now(), Ordering::Relaxed);
        let waiter = threads::keep(region, thread) + 1;
        place.waiter.store(waiter, Ordering::Release);
        thread.segment.store(region.moment(), Ordering::Relaxed);
    }
}

unsafe extern "C" fn fork_from(site: u64) -> pid_t {
    quietly(|| forks::leave_place(site));
    // SAFETY: there is nothing to pass on.
    let child = unsafe { real::FORK.get::<Fork>()() };
    if child > 0 {
        quietly(|| made(child));
    }
    child
}

/// As the C library does it: the child runs on this very stack until it starts another program, so
/// nothing may be kept on it, the return address included.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn vfork() {
    core::arch::naked_asm!(
        "pop rdi",
        "mov eax, {number}",
        "syscall",
        "push rdi",
        "test eax, eax",
        "jz 3f",
        "js 2f",
        "push rax",
        "mov edi, eax",
        "call {made}",
        "pop rax",
        "ret",
        "2:",
        "mov edi, eax",
        "jmp {failed}",
        "3:",
        "ret",
        number = const libc::SYS_vfork,
        made = sym made,
        failed = sym failed,
    );
}

/// What the kernel answered is an error.
#[cfg(target_arch = "x86_64")]
extern "C" fn failed(answer: c_int) -> pid_t {
    // SAFETY: this thread's own.
    unsafe { libc::__errno_location().write(-answer) };
    -1
}

/// A call that waits for children has returned.
fn came_back(child: pid_t, status: c_int) -> pid_t {
    if child > 0 && (libc::WIFEXITED(status) || libc::WIFSIGNALED(status)) {
        quietly(|| waited(child));
    }
    child
}

#[unsafe(no_mangle)]
unsafe extern "C" fn waitpid(child: pid_t, status: *mut c_int, options: c_int) -> pid_t {
    let mut own = 0;
    let told = if status.is_null() {
        &raw mut own
    } else {
        status
    };
    // SAFETY: what the caller gave is passed on.
    unsafe {
        let child = real::WAITPID.get::<WaitPid>()(child, told, options);
        came_back(child, told.read())
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn wait(status: *mut c_int) -> pid_t {
    // SAFETY: what the caller gave is passed on; it is the same call (wait(2)).
    unsafe { waitpid(-1, status, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn wait4(
    child: pid_t,
    status: *mut c_int,
    options: c_int,
    usage: *mut rusage,
) -> pid_t {
    let mut own = 0;
    let told = if status.is_null() {
        &raw mut own
    } else {
        status
    };
    // SAFETY: what the caller gave is passed on.
    unsafe {
        let child = real::WAIT4.get::<Wait4>()(child, told, options, usage);
        came_back(child, told.read())
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn wait3(status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t {
    // SAFETY: what the caller gave is passed on; it is the same call (wait4(2)).
    unsafe { wait4(-1, status, options, usage) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn waitid(
    which: idtype_t,
    number: libc::id_t,
    info: *mut siginfo_t,
    options: c_int,
) -> c_int {
    // SAFETY: a structure of numbers, and what the caller gave.
    unsafe {
        let mut own = zeroed();
        let told = if info.is_null() { &raw mut own } else { info };
        let result = real::WAITID.get::<WaitId>()(which, number, told, options);
        if result == 0 {
            let is_end = matches!(
                (*told).si_code,
                libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED
            );
            if is_end && (*told).si_pid() > 0 {
                quietly(|| waited((*told).si_pid()));
            }
        }
        result
    }
}
