//! Waits on futexes that the program makes itself (futex(2)), by `syscall` of the C library.
//!
//! Locks that are built of atomics and futexes are not watched. But a thread that has to wait for
//! such a lock makes this call, so the file that makes it is noted. Files whose waits are watched
//! anyway, such as the C++ library, are left out by the watcher.
//!
//! A filter of system calls comes by `syscall` too (`restrictions`).

use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::notes::{self, Kind, PATH_BYTES};
use crate::{clock, objects, real, restrictions};

/// Files that are noted at most.
const FILES: usize = 16;
/// Where their code begins and ends.
static NOTED: [[AtomicU64; 2]; FILES] = [const { [const { AtomicU64::new(0) }; 2] }; FILES];
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The real function, once it is known.
static REAL: AtomicUsize = AtomicUsize::new(0);

/// What a note begins with.
const HEAD: &[u8] = b"Futex ";

/// Operations of seccomp(2); a filter that is null is only a question whether there are filters.
const SECCOMP_STRICT: usize = 0;
const SECCOMP_FILTER: usize = 1;

/// The operations that wait; above are flags.
const OPERATION: c_int = 0x7f;
const WAITS: [c_int; 5] = [
    libc::FUTEX_WAIT,
    libc::FUTEX_WAIT_BITSET,
    libc::FUTEX_WAIT_REQUEUE_PI,
    libc::FUTEX_LOCK_PI,
    libc::FUTEX_LOCK_PI2,
];

/// Before the real one, to which it jumps: it has up to seven arguments.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall() {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!(
        "cmp rdi, {futex}",
        "je 2f",
        "cmp rdi, {filter}",
        "je 2f",
        "mov rax, [rip + {real}]",
        "test rax, rax",
        "je 2f",
        "jmp rax",
        "2:",
        "push rdi", "push rsi", "push rdx", "push rcx", "push r8", "push r9", "sub rsp, 8",
        "mov r8, rcx",
        "mov rcx, [rsp + 56]",
        "call {way}",
        "add rsp, 8", "pop r9", "pop r8", "pop rcx", "pop rdx", "pop rsi", "pop rdi",
        "jmp rax",
        futex = const libc::SYS_futex,
        filter = const libc::SYS_seccomp,
        real = sym REAL,
        way = sym way
    );
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!(
        "stp x29, x30, [sp, #-80]!",
        "stp x0, x1, [sp, #16]", "stp x2, x3, [sp, #32]",
        "stp x4, x5, [sp, #48]", "stp x6, x7, [sp, #64]",
        "mov x4, x3",
        "mov x3, x30",
        "bl {way}",
        "mov x16, x0",
        "ldp x0, x1, [sp, #16]", "ldp x2, x3, [sp, #32]",
        "ldp x4, x5, [sp, #48]", "ldp x6, x7, [sp, #64]",
        "ldp x29, x30, [sp], #80",
        "br x16",
        way = sym way
    );
}

unsafe extern "C" fn way(
    number: c_long,
    word: usize,
    operation: c_int,
    site: u64,
    fourth: u64,
) -> usize {
    if number == libc::SYS_futex && WAITS.contains(&(operation & OPERATION)) {
        note(site);
    }
    let is_filter = word == SECCOMP_STRICT || word == SECCOMP_FILTER && fourth != 0;
    if number == libc::SYS_seccomp && is_filter {
        restrictions::expect_filter();
    }
    let place = real::SYSCALL.place();
    REAL.store(place, Ordering::Relaxed);
    place
}

/// Notes the file that a call comes from, once.
fn note(site: u64) {
    let count = (COUNT.load(Ordering::Acquire) as usize).min(FILES);
    let is_in = |file: &[AtomicU64; 2]| {
        let [start, end] = file.each_ref().map(|bound| bound.load(Ordering::Acquire));
        (start..end).contains(&site)
    };
    if count < FILES && !NOTED[..count].iter().any(is_in) {
        note_new(site);
    }
}

#[cold]
#[inline(never)] // The path is on the stack.
fn note_new(site: u64) {
    let Some(object) = objects::find(site) else {
        return;
    };
    let number = COUNT.fetch_add(1, Ordering::AcqRel) as usize;
    let Some(place) = NOTED.get(number) else {
        return;
    };
    place[0].store(object.start, Ordering::Release);
    place[1].store(object.end, Ordering::Release);
    let mut text = [0_u8; PATH_BYTES];
    text[..HEAD.len()].copy_from_slice(HEAD);
    let room = &mut text[HEAD.len()..];
    let name = object.name();
    let length = if name.is_empty() {
        notes::link(c"/proc/self/exe", room)
    } else {
        let length = name.len().min(room.len());
        room[..length].copy_from_slice(&name[..length]);
        length
    };
    notes::note(Kind::Used, clock::now(), "-", &text[..HEAD.len() + length]);
}
