//! The real functions that ours replace.
//!
//! All of them are looked up when this library is loaded: later, a thread may hold any lock of the
//! program, and must not wait for the dynamic loader (see `objects`). If the constructor of another
//! library calls one of our functions earlier, the real one is looked up then; there is only one
//! thread at that time.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::transmute_copy;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{clockid_t, pthread_cond_t, pthread_mutex_t, pthread_rwlock_t, timespec};

use crate::symbols;

thread_local! {
    static LOOKING: Cell<bool> = const { Cell::new(false) };
}

/// How a function is looked up.
#[derive(Clone, Copy)]
enum How {
    /// The next one of this name behind ours.
    Next,
    /// The same, of a version: condition waits have an old one, which takes another structure.
    Version(&'static CStr),
    /// Without the loader (`symbols`): the functions that ask it, and those of the C++ library.
    Alone,
}

/// A function of the C library.
pub(crate) struct Real {
    name: &'static CStr,
    how: How,
    found: AtomicPtr<c_void>,
}

type LookUp = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
type LookUpVersion = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> *mut c_void;

impl Real {
    const fn new(name: &'static CStr, how: How) -> Self {
        Self {
            name,
            how,
            found: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// The function's address, looked up once.
    #[inline]
    fn address(&self) -> *mut c_void {
        let found = self.found.load(Ordering::Relaxed);
        if found.is_null() {
            self.look_up()
        } else {
            found
        }
    }

    /// The function, or nothing while this very thread is looking it up: looking up may itself
    /// allocate and free.
    ///
    /// # Safety
    ///
    /// `F` is its type.
    #[inline]
    pub(crate) unsafe fn try_get<F: Copy>(&self) -> Option<F> {
        let mut address = self.found.load(Ordering::Relaxed);
        if address.is_null() {
            if LOOKING.replace(true) {
                return None;
            }
            address = self.look_up();
            LOOKING.set(false);
        }
        // SAFETY: as for `get`.
        Some(unsafe { transmute_copy(&address) })
    }

    /// Looks the function up, if there is one.
    fn prepare(&self) -> *mut c_void {
        let found = match self.how {
            How::Alone => find(self.name),
            How::Next => self.next(),
            How::Version(version) => self.next_of(version),
        };
        self.found.store(found, Ordering::Relaxed);
        found
    }

    fn next(&self) -> *mut c_void {
        // SAFETY: the function's type; the name ends with a zero.
        unsafe { DLSYM.get::<LookUp>()(libc::RTLD_NEXT, self.name.as_ptr()) }
    }

    fn next_of(&self, version: &CStr) -> *mut c_void {
        // SAFETY: the same.
        let found = unsafe {
            let look_up = DLVSYM.get::<LookUpVersion>();
            look_up(libc::RTLD_NEXT, self.name.as_ptr(), version.as_ptr())
        };
        if found.is_null() { self.next() } else { found }
    }

    #[cold]
    fn look_up(&self) -> *mut c_void {
        let found = self.prepare();
        if found.is_null() {
            // The program called a function that the C library does not have.
            std::process::abort();
        }
        found
    }

    /// The function's address, to jump to.
    pub(crate) fn place(&self) -> usize {
        self.address() as usize
    }

    /// The function, if the C library has it; looked up before.
    ///
    /// # Safety
    ///
    /// `F` is its type.
    #[inline]
    pub(crate) unsafe fn present<F: Copy>(&self) -> Option<F> {
        let found = self.found.load(Ordering::Relaxed);
        // SAFETY: as for `get`.
        (!found.is_null()).then(|| unsafe { transmute_copy(&found) })
    }

    /// The function as what it is.
    ///
    /// # Safety
    ///
    /// `F` is its type.
    #[inline]
    pub(crate) unsafe fn get<F: Copy>(&self) -> F {
        let address = self.address();
        // SAFETY: a function pointer has the size of a pointer, and the caller knows its type.
        unsafe { transmute_copy(&address) }
    }
}

pub(crate) type OnMutex = unsafe extern "C" fn(*mut pthread_mutex_t) -> c_int;
pub(crate) type TimedMutex = unsafe extern "C" fn(*mut pthread_mutex_t, *const timespec) -> c_int;
pub(crate) type ClockMutex =
    unsafe extern "C" fn(*mut pthread_mutex_t, clockid_t, *const timespec) -> c_int;
pub(crate) type OnReadWrite = unsafe extern "C" fn(*mut pthread_rwlock_t) -> c_int;
pub(crate) type TimedReadWrite =
    unsafe extern "C" fn(*mut pthread_rwlock_t, *const timespec) -> c_int;
pub(crate) type ClockReadWrite =
    unsafe extern "C" fn(*mut pthread_rwlock_t, clockid_t, *const timespec) -> c_int;
pub(crate) type OnSpin = unsafe extern "C" fn(*mut c_int) -> c_int;
pub(crate) type OnCondition = unsafe extern "C" fn(*mut pthread_cond_t) -> c_int;
pub(crate) type Wait = unsafe extern "C" fn(*mut pthread_cond_t, *mut pthread_mutex_t) -> c_int;
pub(crate) type TimedWait =
    unsafe extern "C" fn(*mut pthread_cond_t, *mut pthread_mutex_t, *const timespec) -> c_int;
pub(crate) type ClockWait = unsafe extern "C" fn(
    *mut pthread_cond_t,
    *mut pthread_mutex_t,
    clockid_t,
    *const timespec,
) -> c_int;

fn find(name: &CStr) -> *mut c_void {
    symbols::find(name).map_or(std::ptr::null_mut(), |symbol| symbol.address)
}

/// Looks all of them up.
pub(crate) fn open() {
    for each in ALL {
        each.prepare();
    }
}

const CONDITIONS: How = How::Version(c"GLIBC_2.3.2");

macro_rules! functions {
    ($($name:ident = $symbol:literal, $how:expr;)*) => {
        $(pub(crate) static $name: Real = Real::new($symbol, $how);)*
        const ALL: &[&Real] = &[$(&$name),*];
    };
}

functions! {
    DLSYM = c"dlsym", How::Alone;
    DLVSYM = c"dlvsym", How::Alone;
    SYSCALL = c"syscall", How::Alone;
    // Since glibc 2.35.
    FIND_OBJECT = c"_dl_find_object", How::Alone;
    DLOPEN = c"dlopen", How::Next;
    DLMOPEN = c"dlmopen", How::Next;
    DLCLOSE = c"dlclose", How::Next;
    DLERROR = c"dlerror", How::Next;
    DLADDR = c"dladdr", How::Next;
    DLADDR1 = c"dladdr1", How::Next;
    MUTEX_INIT = c"pthread_mutex_init", How::Next;
    MUTEX_DESTROY = c"pthread_mutex_destroy", How::Next;
    MUTEX_LOCK = c"pthread_mutex_lock", How::Next;
    MUTEX_TRYLOCK = c"pthread_mutex_trylock", How::Next;
    MUTEX_TIMEDLOCK = c"pthread_mutex_timedlock", How::Next;
    MUTEX_CLOCKLOCK = c"pthread_mutex_clocklock", How::Next;
    MUTEX_UNLOCK = c"pthread_mutex_unlock", How::Next;
    READ_LOCK = c"pthread_rwlock_rdlock", How::Next;
    READ_TRYLOCK = c"pthread_rwlock_tryrdlock", How::Next;
    READ_TIMEDLOCK = c"pthread_rwlock_timedrdlock", How::Next;
    READ_CLOCKLOCK = c"pthread_rwlock_clockrdlock", How::Next;
    WRITE_LOCK = c"pthread_rwlock_wrlock", How::Next;
    WRITE_TRYLOCK = c"pthread_rwlock_trywrlock", How::Next;
    WRITE_TIMEDLOCK = c"pthread_rwlock_timedwrlock", How::Next;
    WRITE_CLOCKLOCK = c"pthread_rwlock_clockwrlock", How::Next;
    READ_WRITE_INIT = c"pthread_rwlock_init", How::Next;
    READ_WRITE_DESTROY = c"pthread_rwlock_destroy", How::Next;
    READ_WRITE_UNLOCK = c"pthread_rwlock_unlock", How::Next;
    SPIN_INIT = c"pthread_spin_init", How::Next;
    SPIN_DESTROY = c"pthread_spin_destroy", How::Next;
    SPIN_LOCK = c"pthread_spin_lock", How::Next;
    SPIN_TRYLOCK = c"pthread_spin_trylock", How::Next;
    SPIN_UNLOCK = c"pthread_spin_unlock", How::Next;
    CONDITION_WAIT = c"pthread_cond_wait", CONDITIONS;
    CONDITION_TIMEDWAIT = c"pthread_cond_timedwait", CONDITIONS;
    CONDITION_CLOCKWAIT = c"pthread_cond_clockwait", How::Next;
    CONDITION_SIGNAL = c"pthread_cond_signal", CONDITIONS;
    CONDITION_BROADCAST = c"pthread_cond_broadcast", CONDITIONS;
    ONCE = c"pthread_once", How::Next;
    LOCK_FILE = c"flockfile", How::Next;
    TRYLOCK_FILE = c"ftrylockfile", How::Next;
    UNLOCK_FILE = c"funlockfile", How::Next;
    OPEN_COOKIE = c"fopencookie", How::Next;
    MTX_INIT = c"mtx_init", How::Next;
    THRD_CREATE = c"thrd_create", How::Next;
    CLOCK_JOIN = c"pthread_clockjoin_np", How::Next;
    // Of the C++ library, which may be loaded later or not at all.
    GUARD_ACQUIRE = c"__cxa_guard_acquire", How::Alone;
    GUARD_RELEASE = c"__cxa_guard_release", How::Alone;
    GUARD_ABORT = c"__cxa_guard_abort", How::Alone;
    BARRIER_WAIT = c"pthread_barrier_wait", How::Next;
    FUTURE_WAIT = c"_ZNSt28__atomic_futex_unsigned_base19_M_futex_wait_untilEPjjbNSt6chrono8durationIlSt5ratioILl1ELl1EEEENS2_IlS3_ILl1ELl1000000000EEEE", How::Alone;
    FUTURE_NOTIFY = c"_ZNSt28__atomic_futex_unsigned_base19_M_futex_notify_allEPj", How::Alone;
    CREATE = c"pthread_create", How::Next;
    JOIN = c"pthread_join", How::Next;
    SEMAPHORE_INIT = c"sem_init", How::Next;
    SEMAPHORE_DESTROY = c"sem_destroy", How::Next;
    SEMAPHORE_OPEN = c"sem_open", How::Next;
    SEMAPHORE_CLOSE = c"sem_close", How::Next;
    SEMAPHORE_WAIT = c"sem_wait", How::Next;
    SEMAPHORE_TRYWAIT = c"sem_trywait", How::Next;
    SEMAPHORE_TIMEDWAIT = c"sem_timedwait", How::Next;
    SEMAPHORE_CLOCKWAIT = c"sem_clockwait", How::Next;
    SEMAPHORE_POST = c"sem_post", How::Next;
    FORK = c"fork", How::Next;
    WAITPID = c"waitpid", How::Next;
    WAIT4 = c"wait4", How::Next;
    WAITID = c"waitid", How::Next;
    FREE = c"free", How::Next;
    REALLOC = c"realloc", How::Next;
    UNMAP = c"munmap", How::Alone;
    MAP = c"mmap", How::Alone;
    REMAP = c"mremap", How::Alone;
    LOCK_ALL = c"mlockall", How::Alone;
    CHANGE_ROOT = c"chroot", How::Alone;
    CONTROL = c"prctl", How::Alone;
    DETACH = c"shmdt", How::Next;
    EXECVE = c"execve", How::Next;
    EXECV = c"execv", How::Next;
    EXECVP = c"execvp", How::Next;
    EXECVPE = c"execvpe", How::Next;
    FEXECVE = c"fexecve", How::Next;
    EXECVEAT = c"execveat", How::Next;
    EXECL = c"execl", How::Next;
    EXECLP = c"execlp", How::Next;
    EXECLE = c"execle", How::Next;
    SPAWN = c"posix_spawn", How::Next;
    SPAWNP = c"posix_spawnp", How::Next;
}
