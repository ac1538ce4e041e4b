//! The functions that ours stand before.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::mem::transmute_copy;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{clockid_t, pthread_cond_t, pthread_mutex_t, pthread_rwlock_t, timespec};

thread_local! {
    static LOOKING: Cell<bool> = const { Cell::new(false) };
}

/// A function of the C library, looked up when it is first needed.
pub(crate) struct Real {
    name: &'static CStr,
    /// Condition waits have an old version, which takes another structure.
    version: Option<&'static CStr>,
    found: AtomicPtr<c_void>,
}

impl Real {
    const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            version: None,
            found: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    const fn versioned(name: &'static CStr, version: &'static CStr) -> Self {
        Self {
            name,
            version: Some(version),
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

    #[cold]
    fn look_up(&self) -> *mut c_void {
        // SAFETY: the names end with a zero; looking up has no other conditions.
        let mut found = unsafe {
            match self.version {
                Some(version) => {
                    libc::dlvsym(libc::RTLD_NEXT, self.name.as_ptr(), version.as_ptr())
                }
                None => std::ptr::null_mut(),
            }
        };
        if found.is_null() {
            // SAFETY: as above.
            found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        }
        if found.is_null() {
            // The program called a function that the C library does not have.
            std::process::abort();
        }
        self.found.store(found, Ordering::Relaxed);
        found
    }

    /// Looks the function up, if the C library has it.
    pub(crate) fn prepare(&self) {
        // SAFETY: the name ends with a zero.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        self.found.store(found, Ordering::Relaxed);
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
pub(crate) type Wait = unsafe extern "C" fn(*mut pthread_cond_t, *mut pthread_mutex_t) -> c_int;
pub(crate) type TimedWait =
    unsafe extern "C" fn(*mut pthread_cond_t, *mut pthread_mutex_t, *const timespec) -> c_int;
pub(crate) type ClockWait = unsafe extern "C" fn(
    *mut pthread_cond_t,
    *mut pthread_mutex_t,
    clockid_t,
    *const timespec,
) -> c_int;

const CONDITIONS: &CStr = c"GLIBC_2.3.2";

pub(crate) static MUTEX_INIT: Real = Real::new(c"pthread_mutex_init");
pub(crate) static MUTEX_DESTROY: Real = Real::new(c"pthread_mutex_destroy");
pub(crate) static MUTEX_LOCK: Real = Real::new(c"pthread_mutex_lock");
pub(crate) static MUTEX_TRYLOCK: Real = Real::new(c"pthread_mutex_trylock");
pub(crate) static MUTEX_TIMEDLOCK: Real = Real::new(c"pthread_mutex_timedlock");
pub(crate) static MUTEX_CLOCKLOCK: Real = Real::new(c"pthread_mutex_clocklock");
pub(crate) static MUTEX_UNLOCK: Real = Real::new(c"pthread_mutex_unlock");
pub(crate) static READ_LOCK: Real = Real::new(c"pthread_rwlock_rdlock");
pub(crate) static READ_TRYLOCK: Real = Real::new(c"pthread_rwlock_tryrdlock");
pub(crate) static READ_TIMEDLOCK: Real = Real::new(c"pthread_rwlock_timedrdlock");
pub(crate) static READ_CLOCKLOCK: Real = Real::new(c"pthread_rwlock_clockrdlock");
pub(crate) static WRITE_LOCK: Real = Real::new(c"pthread_rwlock_wrlock");
pub(crate) static WRITE_TRYLOCK: Real = Real::new(c"pthread_rwlock_trywrlock");
pub(crate) static WRITE_TIMEDLOCK: Real = Real::new(c"pthread_rwlock_timedwrlock");
pub(crate) static WRITE_CLOCKLOCK: Real = Real::new(c"pthread_rwlock_clockwrlock");
pub(crate) static READ_WRITE_INIT: Real = Real::new(c"pthread_rwlock_init");
pub(crate) static READ_WRITE_DESTROY: Real = Real::new(c"pthread_rwlock_destroy");
pub(crate) static READ_WRITE_UNLOCK: Real = Real::new(c"pthread_rwlock_unlock");
pub(crate) static SPIN_INIT: Real = Real::new(c"pthread_spin_init");
pub(crate) static SPIN_DESTROY: Real = Real::new(c"pthread_spin_destroy");
pub(crate) static SPIN_LOCK: Real = Real::new(c"pthread_spin_lock");
pub(crate) static SPIN_TRYLOCK: Real = Real::new(c"pthread_spin_trylock");
pub(crate) static SPIN_UNLOCK: Real = Real::new(c"pthread_spin_unlock");
pub(crate) static CONDITION_WAIT: Real = Real::versioned(c"pthread_cond_wait", CONDITIONS);
pub(crate) static CONDITION_TIMEDWAIT: Real =
    Real::versioned(c"pthread_cond_timedwait", CONDITIONS);
pub(crate) static CONDITION_CLOCKWAIT: Real = Real::new(c"pthread_cond_clockwait");
pub(crate) static CREATE: Real = Real::new(c"pthread_create");
pub(crate) static JOIN: Real = Real::new(c"pthread_join");
pub(crate) static SEMAPHORE_INIT: Real = Real::new(c"sem_init");
pub(crate) static SEMAPHORE_DESTROY: Real = Real::new(c"sem_destroy");
pub(crate) static SEMAPHORE_OPEN: Real = Real::new(c"sem_open");
pub(crate) static SEMAPHORE_CLOSE: Real = Real::new(c"sem_close");
pub(crate) static SEMAPHORE_WAIT: Real = Real::new(c"sem_wait");
pub(crate) static SEMAPHORE_TRYWAIT: Real = Real::new(c"sem_trywait");
pub(crate) static SEMAPHORE_TIMEDWAIT: Real = Real::new(c"sem_timedwait");
pub(crate) static SEMAPHORE_CLOCKWAIT: Real = Real::new(c"sem_clockwait");
pub(crate) static SEMAPHORE_POST: Real = Real::new(c"sem_post");
pub(crate) static FORK: Real = Real::new(c"fork");
pub(crate) static WAITPID: Real = Real::new(c"waitpid");
pub(crate) static WAIT4: Real = Real::new(c"wait4");
pub(crate) static WAITID: Real = Real::new(c"waitid");
pub(crate) static FREE: Real = Real::new(c"free");
pub(crate) static REALLOC: Real = Real::new(c"realloc");
pub(crate) static EXECVE: Real = Real::new(c"execve");
pub(crate) static EXECV: Real = Real::new(c"execv");
pub(crate) static EXECVP: Real = Real::new(c"execvp");
pub(crate) static EXECVPE: Real = Real::new(c"execvpe");
pub(crate) static FEXECVE: Real = Real::new(c"fexecve");
pub(crate) static EXECVEAT: Real = Real::new(c"execveat");
pub(crate) static EXECL: Real = Real::new(c"execl");
pub(crate) static EXECLP: Real = Real::new(c"execlp");
pub(crate) static EXECLE: Real = Real::new(c"execle");
pub(crate) static SPAWN: Real = Real::new(c"posix_spawn");
pub(crate) static SPAWNP: Real = Real::new(c"posix_spawnp");
/// Since glibc 2.35.
pub(crate) static FIND_OBJECT: Real = Real::new(c"_dl_find_object");
