//! What a process gives up: the sight of the whole file system (`chroot(2)`), and system calls
//! (seccomp(2)).
//!
//! Behind `chroot` the folder of the records has no path any more. So the record is made before,
//! and the folder stays open, for the records of children and for notes.
//!
//! A filter of system calls may end the process at a call that it does not know. So what this
//! library still has to write is written before the filter is there. From then on it makes only
//! calls that an operation on a lock makes anyway: it makes no files and reads none. Children of
//! the process are then not watched, which is noted.

use std::ffi::{c_int, c_ulong};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use crate::unseen::{self, Use};
use crate::{notes, real, threads};

type ChangeRoot = unsafe extern "C" fn(*const libc::c_char) -> c_int;
type Control = unsafe extern "C" fn(c_int, c_ulong, c_ulong, c_ulong, c_ulong) -> c_int;

/// Above the numbers that programs count on, and below the usual limit of 1,024.
const FOLDER_NUMBER: c_int = 900;

/// The open folder of the records, and its inode; -1 while its path is enough.
static FOLDER: AtomicI32 = AtomicI32::new(-1);
static FOLDER_INODE: AtomicU64 = AtomicU64::new(0);
static HAS_FILTER: AtomicBool = AtomicBool::new(false);

/// Whether system calls may be refused: only those are made that the program itself has to make.
#[inline]
pub(crate) fn has_filter() -> bool {
    HAS_FILTER.load(Ordering::Relaxed)
}

/// Opens a file of the folder. `path` is whole, and ends with a zero.
///
/// # Safety
///
/// As `open(2)`.
pub(crate) unsafe fn open(path: &[u8], flags: c_int, mode: libc::mode_t) -> c_int {
    if has_filter() {
        return -1;
    }
    let folder = FOLDER.load(Ordering::Relaxed);
    let name = path.iter().rposition(|byte| *byte == b'/');
    // SAFETY: the path, and so its last part, ends with a zero.
    unsafe {
        match name {
            // A program that closes all descriptors may have another file there by now.
            Some(slash) if folder >= 0 && inode(folder) == FOLDER_INODE.load(Ordering::Relaxed) => {
                libc::openat(folder, path[slash + 1..].as_ptr().cast(), flags, mode)
            }
            _ => libc::open(path.as_ptr().cast(), flags, mode),
        }
    }
}

/// The inode of an open file; 0 if there is none.
fn inode(file: c_int) -> u64 {
    let mut found = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: what is read was filled in if the call succeeds.
    unsafe {
        match libc::fstat(file, found.as_mut_ptr()) {
            0 => found.assume_init().st_ino,
            _ => 0,
        }
    }
}

/// Opens the folder, for as long as the process lives.
fn keep_folder() {
    if FOLDER.load(Ordering::Relaxed) >= 0 {
        return;
    }
    notes::with_folder(|folder| {
        let mut path = [0_u8; notes::RECORD_BYTES];
        path[..folder.len()].copy_from_slice(folder);
        // SAFETY: the path ends with a zero; the descriptors are ours.
        unsafe {
            let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
            let low = libc::open(path.as_ptr().cast(), flags);
            if low < 0 {
                return;
            }
            let high = libc::fcntl(low, libc::F_DUPFD_CLOEXEC, FOLDER_NUMBER);
            if high >= 0 {
                libc::close(low);
            }
            let folder = if high >= 0 { high } else { low };
            FOLDER_INODE.store(inode(folder), Ordering::Relaxed);
            FOLDER.store(folder, Ordering::Relaxed);
        }
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn chroot(path: *const libc::c_char) -> c_int {
    // SAFETY: the thread's own.
    let before = unsafe { *libc::__errno_location() };
    drop(threads::enter());
    keep_folder();
    // SAFETY: the same; what the caller gave is passed on.
    unsafe {
        *libc::__errno_location() = before;
        real::CHANGE_ROOT.get::<ChangeRoot>()(path)
    }
}

/// A filter is about to come: writes what would be written at the end.
pub(crate) fn expect_filter() {
    if has_filter() {
        return;
    }
    drop(threads::enter());
    notes::modules();
    unseen::note(Use::Filter);
    HAS_FILTER.store(true, Ordering::Relaxed);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn prctl(
    what: c_int,
    second: c_ulong,
    third: c_ulong,
    fourth: c_ulong,
    fifth: c_ulong,
) -> c_int {
    // A filter that is null is only a question whether there are filters (prctl(2)).
    let is_question = second == libc::c_ulong::from(libc::SECCOMP_MODE_FILTER) && third == 0;
    let is_new = what == libc::PR_SET_SECCOMP && !is_question && !has_filter();
    if is_new {
        expect_filter();
    }
    // SAFETY: what the caller gave is passed on; what it did not give is not looked at.
    let result = unsafe { real::CONTROL.get::<Control>()(what, second, third, fourth, fifth) };
    if is_new && result != 0 {
        HAS_FILTER.store(false, Ordering::Relaxed);
    }
    result
}
