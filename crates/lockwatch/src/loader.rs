//! The dynamic loader's lock, which is watched like other locks.
//!
//! The loader holds one lock while it loads or unloads a library, and while it runs the library's
//! constructors and destructors. It also takes this lock to look up a symbol or an address (glibc:
//! `_dl_load_lock` of `_rtld_global`, a recursive mutex). If a constructor wants a lock of the
//! program, while the thread that holds it wants a symbol, this is a deadlock.
//!
//! The address of the lock depends on the version, so it is **found in the running process**: at
//! the start, we ask for a library that does not exist. Meanwhile the loader frees some memory
//! while it holds its lock, and calls our `free`. The lock is the recursive mutex within the
//! loader's data that this thread holds exactly once.
//!
//! From then on it is taken like any other mutex before the real function is called, which takes it
//! again. Some functions depend on their caller: `dlopen` of a plain name uses the paths of the
//! caller's file, and `dlsym` may refer to the objects after the caller. For these, the lock is
//! taken and released before, and then the real function is entered by a jump, so that it sees the
//! original caller.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use libc::pthread_mutex_t;

use crate::calls::{self, Wanted, export};
use crate::layout::Kind;
use crate::mutexes::Mutex;
use crate::real::{self, OnMutex};
use crate::{clock, frame_rules, memory, notes, python, region, symbols};

/// Where the lock lies; 0 where it was not found.
static LOCK: AtomicU64 = AtomicU64::new(0);
static IS_SEARCHED: AtomicBool = AtomicBool::new(false);
/// The lock was not found, and that is noted.
static IS_NOTED: AtomicBool = AtomicBool::new(false);
const NOWHERE: &CStr = c"/proc/self/no such library";
/// `_rtld_global` is smaller than this in every version so far.
const GLOBAL_BYTES_MAX: usize = 1 << 14;

type Open = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
type Close = unsafe extern "C" fn(*mut c_void) -> c_int;
type Error = unsafe extern "C" fn() -> *mut c_char;

/// Finds the lock; at the start, when there is one thread.
pub(crate) fn open() {
    IS_SEARCHED.store(true, Ordering::Relaxed);
    // SAFETY: there is no such library; the error is taken back.
    unsafe {
        if let (Some(open), Some(error)) = (
            real::DLOPEN.present::<Open>(),
            real::DLERROR.present::<Error>(),
        ) {
            open(NOWHERE.as_ptr(), libc::RTLD_NOW);
            error();
        }
    }
    IS_SEARCHED.store(false, Ordering::Relaxed);
}

/// Memory is freed.
#[inline]
pub(crate) fn freed() {
    if IS_SEARCHED.load(Ordering::Relaxed) && LOCK.load(Ordering::Relaxed) == 0 {
        search();
    }
}

#[cold]
fn search() {
    const WORDS: usize = size_of::<pthread_mutex_t>() / size_of::<c_int>();
    const RECURSIVE: c_int = 1;
    let Some(global) = symbols::find(c"_rtld_global") else {
        return;
    };
    // SAFETY: the number of this thread; the loader's own data, as large as the symbol says.
    let (me, words) = unsafe {
        let words = global.bytes.min(GLOBAL_BYTES_MAX) / size_of::<c_int>();
        let words = std::slice::from_raw_parts(global.address.cast::<c_int>(), words);
        (libc::gettid(), words)
    };
    // A mutex: the lock, how often it is held, by whom, by how many, and its kind.
    let found = words
        .windows(WORDS)
        .position(|mutex| mutex[..5] == [1, 1, me, 1, RECURSIVE]);
    if let Some(position) = found {
        let address = global.address as u64 + (position * size_of::<c_int>()) as u64;
        LOCK.store(address, Ordering::Relaxed);
    }
}

/// A process without a lock so far has no order with this one either.
fn wanted(site: u64) -> Option<(Wanted, Mutex)> {
    region::present()?;
    let address = LOCK.load(Ordering::Relaxed);
    if address == 0 && !IS_NOTED.swap(true, Ordering::Relaxed) {
        notes::note(notes::Kind::Used, clock::now(), "-", b"loader");
    }
    let wanted = Wanted {
        address,
        kind: Kind::Loader,
        is_shared: false,
        site,
    };
    (address != 0).then_some((wanted, Mutex(address as *mut pthread_mutex_t)))
}

/// The lock in this thread's hands.
struct Held {
    address: u64,
    site: u64,
}

impl Held {
    fn take(site: u64) -> Option<Self> {
        let (wanted, mutex) = wanted(site)?;
        let address = wanted.address;
        (calls::take(wanted, &mutex) == 0).then_some(Self { address, site })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        calls::release(self.address, self.site);
        let mutex = self.address as *mut pthread_mutex_t;
        // SAFETY: this thread holds the loader's lock.
        unsafe { real::MUTEX_UNLOCK.get::<OnMutex>()(mutex) };
    }
}

/// Waits until the lock is free, for a function that takes it itself at once.
fn pass(site: u64) {
    drop(Held::take(site));
}

export!(dlclose => close, 1);

unsafe extern "C" fn close(library: *mut c_void, site: u64) -> c_int {
    let held = Held::take(site);
    // SAFETY: what the caller gave is passed on.
    let result = unsafe { real::DLCLOSE.get::<Close>()(library) };
    frame_rules::forget();
    memory::end_unmapped();
    drop(held);
    result
}

unsafe extern "C" fn open_held(name: *const c_char, how: c_int, site: u64) -> *mut c_void {
    let held = Held::take(site);
    // SAFETY: what the caller gave is passed on.
    let library = unsafe { real::DLOPEN.get::<Open>()(name, how) };
    drop(held);
    if !library.is_null() {
        python::look();
    }
    library
}

/// Where `dlopen` continues: in ours, unless it is to look where its caller's file says.
unsafe extern "C" fn way_of_open(name: *const c_char, _how: c_int, site: u64) -> usize {
    let is_of_caller = !name.is_null() && {
        // SAFETY: a name ends with a zero.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        name.contains(&b'$') || !name.contains(&b'/') && symbols::has_run_path(site)
    };
    if is_of_caller {
        pass(site);
        return real::DLOPEN.place();
    }
    open_held as *const () as usize
}

/// Exports a function of up to four arguments: waits until the lock is free, and continues in the
/// real one.
macro_rules! export_passing {
    ($name:ident => $real:ident) => {
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() {
            unsafe extern "C" fn way(_: usize, _: usize, site: u64) -> usize {
                pass(site);
                real::$real.place()
            }
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!(
                "push rdi", "push rsi", "push rdx", "push rcx", "sub rsp, 8",
                "mov rdx, [rsp + 40]",
                "call {way}",
                "mov r11, rax",
                "add rsp, 8", "pop rcx", "pop rdx", "pop rsi", "pop rdi",
                "jmp r11",
                way = sym way
            );
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!(
                "stp x29, x30, [sp, #-48]!",
                "stp x0, x1, [sp, #16]", "stp x2, x3, [sp, #32]",
                "mov x2, x30",
                "bl {way}",
                "mov x16, x0",
                "ldp x0, x1, [sp, #16]", "ldp x2, x3, [sp, #32]",
                "ldp x29, x30, [sp], #48",
                "br x16",
                way = sym way
            );
        }
    };
}

/// `dlopen` has two arguments: ours finds the address that it returns to behind them.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn dlopen() {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!(
        "push rdi", "push rsi", "sub rsp, 8",
        "mov rdx, [rsp + 24]",
        "call {way}",
        "mov r11, rax",
        "add rsp, 8", "pop rsi", "pop rdi",
        "mov rdx, [rsp]",
        "jmp r11",
        way = sym way_of_open
    );
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!(
        "stp x29, x30, [sp, #-32]!",
        "stp x0, x1, [sp, #16]",
        "mov x2, x30",
        "bl {way}",
        "mov x16, x0",
        "ldp x0, x1, [sp, #16]",
        "ldp x29, x30, [sp], #32",
        "mov x2, x30",
        "br x16",
        way = sym way_of_open
    );
}

export_passing!(dlmopen => DLMOPEN);
export_passing!(dlsym => DLSYM);
export_passing!(dlvsym => DLVSYM);
export_passing!(dladdr => DLADDR);
export_passing!(dladdr1 => DLADDR1);
