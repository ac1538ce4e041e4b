//! Notes for the watcher, next to the records: into which processes this library was loaded, what
//! they executed, and which files they had loaded.
//!
//! A process that took no lock has no record. To know what was **not** watched, the watcher must
//! know what was started. So each process notes that this library is loaded into it, and each
//! execution of a program is noted by the process that requests it. If an execution is not followed
//! by a note of the library, the new program was not watched.
//!
//! A note is one write at the end of one file of the folder (`notes`, which the watcher creates,
//! writable for all users that its programs may become). Such a write is atomic, so all processes
//! share the file. The form is `KIND PID NANOSECONDS FLAGS TEXT` and a zero. It is written with
//! system calls alone, because the process may be a child of `vfork`, which shares the memory of
//! its parent.

use std::ffi::CStr;
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use crate::{clock, loaded, restrictions};

/// Names the folder for this process's file; inherited by its children.
const FOLDER: &CStr = c"VESPIARY_LOCKS";
const FOLDER_BYTES: usize = 1024;
/// The longest path of a file in that folder.
pub(crate) const RECORD_BYTES: usize = FOLDER_BYTES + 64;
/// The longest path that is noted; small, since a thread's whole stack may be 16 KiB.
pub(crate) const PATH_BYTES: usize = 2048;
const PATHS_BYTES: usize = 8192;

/// The folder as it was when the process began: a program may clear its environment.
static PLACE: [AtomicU8; FOLDER_BYTES] = [const { AtomicU8::new(0) }; FOLDER_BYTES];
static PLACE_LENGTH: AtomicUsize = AtomicUsize::new(0);

const PROGRAM_BYTES: usize = 512;
/// The program, which may not be found out any more later (`restrictions`).
static PROGRAM: [AtomicU8; PROGRAM_BYTES] = [const { AtomicU8::new(0) }; PROGRAM_BYTES];

/// Copies the program's path.
pub(crate) fn program(path: &[AtomicU8]) {
    for (slot, byte) in path.iter().zip(&PROGRAM) {
        slot.store(byte.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// What is noted.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The library was loaded; the text is the program.
    Loaded = b'L',
    /// A program is executed; the text is its path.
    Executed = b'X',
    /// The last execution has failed.
    Failed = b'F',
    /// The loaded objects at the end, a path a line.
    Modules = b'M',
    /// The interpreter; the text is its version.
    Python = b'P',
    /// Something of the interpreter that is not seen was used; the text says what.
    Used = b'U',
}

/// Remembers the folder.
pub(crate) fn open() {
    // SAFETY: the name ends with a zero; nothing changes the environment while a process starts.
    let folder = unsafe { libc::getenv(FOLDER.as_ptr()) };
    if folder.is_null() {
        return;
    }
    // SAFETY: an environment's value ends with a zero.
    let folder = unsafe { CStr::from_ptr(folder) }.to_bytes();
    if folder.len() >= FOLDER_BYTES {
        return;
    }
    for (slot, byte) in PLACE.iter().zip(folder) {
        slot.store(*byte, Ordering::Relaxed);
    }
    PLACE_LENGTH.store(folder.len(), Ordering::Release);
    let mut program = [0_u8; PATH_BYTES];
    let length = link(c"/proc/self/exe", &mut program);
    for (slot, byte) in PROGRAM.iter().zip(&program[..length]) {
        slot.store(*byte, Ordering::Relaxed);
    }
    note(Kind::Loaded, clock::now(), "-", &program[..length]);
}

/// Calls with the folder; not where there is none.
pub(crate) fn with_folder<T>(act: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let length = PLACE_LENGTH.load(Ordering::Acquire);
    if length == 0 {
        return None;
    }
    let mut bytes = [0_u8; FOLDER_BYTES];
    for (byte, slot) in bytes.iter_mut().zip(&PLACE[..length]) {
        *byte = slot.load(Ordering::Relaxed);
    }
    Some(act(&bytes[..length]))
}

/// Makes a file longer. Where files are limited in size (`ulimit -f`), that fails; without the
/// signal that would end the program (setrlimit(2), SIGXFSZ).
pub(crate) fn enlarge<T>(act: impl FnOnce() -> T) -> T {
    // SAFETY: sets of signals that are ours and are filled before they are read; this thread's mask
    // is as it was afterwards, and its `errno`.
    unsafe {
        let mut limit = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut limit);
        libc::sigaddset(&raw mut limit, libc::SIGXFSZ);
        let mut waiting = std::mem::zeroed::<libc::sigset_t>();
        libc::sigpending(&raw mut waiting);
        let is_anothers = libc::sigismember(&raw const waiting, libc::SIGXFSZ) == 1;
        let mut before = std::mem::zeroed::<libc::sigset_t>();
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const limit, &raw mut before);
        let result = act();
        if !is_anothers {
            let errno = *libc::__errno_location();
            let at_once = std::mem::zeroed::<libc::timespec>();
            libc::sigtimedwait(&raw const limit, std::ptr::null_mut(), &raw const at_once);
            *libc::__errno_location() = errno;
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        result
    }
}

/// Writes a note about this process.
pub(crate) fn note(kind: Kind, time: u64, flags: &str, text: &[u8]) {
    note_of(std::process::id(), kind, time, flags, text);
}

/// Writes a note about a process; quiet about failure, and `errno` stays what it was.
pub(crate) fn note_of(pid: u32, kind: Kind, time: u64, flags: &str, text: &[u8]) {
    with_folder(|folder| {
        // SAFETY: the thread's own `errno`.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: the same.
        let before = unsafe { *errno };
        let _ = write(folder, pid, kind, time, flags, text);
        // SAFETY: the same.
        unsafe { *errno = before };
    });
}

fn write(
    folder: &[u8],
    pid: u32,
    kind: Kind,
    time: u64,
    flags: &str,
    text: &[u8],
) -> std::io::Result<()> {
    let mut path = [0_u8; FOLDER_BYTES + 8];
    let mut rest = path.as_mut_slice();
    rest.write_all(folder)?;
    rest.write_all(b"/notes\0")?;
    let mut head = [0_u8; 64];
    let mut rest = head.as_mut_slice();
    write!(rest, "{} {pid} {time} {flags} ", kind as u8 as char)?;
    let length = 64 - rest.len();
    let part = |bytes: &[u8]| libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let parts = [part(&head[..length]), part(text), part(b"\0")];
    // SAFETY: the path ends with a zero; the parts live through the call and are only read; the
    // descriptor is ours and closed.
    unsafe {
        let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CLOEXEC;
        let file = restrictions::open(&path, flags, 0);
        if file >= 0 {
            enlarge(|| libc::writev(file, parts.as_ptr(), 3));
            libc::close(file);
        }
    }
    Ok(())
}

/// A symbolic link's text; gives its length.
pub(crate) fn link(path: &CStr, text: &mut [u8]) -> usize {
    if restrictions::has_filter() {
        return 0;
    }
    // SAFETY: the link's text goes into the array and is no longer than it.
    let length = unsafe { libc::readlink(path.as_ptr(), text.as_mut_ptr().cast(), text.len()) };
    usize::try_from(length).unwrap_or(0)
}

/// Paths, collected until they fill a note.
struct Paths {
    bytes: [u8; PATHS_BYTES],
    length: usize,
}

impl Paths {
    fn add(&mut self, path: &[u8]) {
        if self.length + path.len() + 1 > self.bytes.len() {
            self.tell();
        }
        if path.len() < self.bytes.len() {
            let end = self.length + path.len();
            self.bytes[self.length..end].copy_from_slice(path);
            self.bytes[end] = b'\n';
            self.length = end + 1;
        }
    }

    fn tell(&mut self) {
        if self.length > 0 {
            note(
                Kind::Modules,
                clock::now(),
                "-",
                &self.bytes[..self.length - 1],
            );
            self.length = 0;
        }
    }
}

/// Notes what is loaded; at the end of a process.
pub(crate) fn modules() {
    let mut paths = Paths {
        bytes: [0; PATHS_BYTES],
        length: 0,
    };
    loaded::find(|info| {
        // SAFETY: the loader's names end with a zero.
        let name = unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes();
        if name.starts_with(b"/") {
            paths.add(name);
        }
        None::<()>
    });
    paths.tell();
}
