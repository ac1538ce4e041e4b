//! The shared file of a traced run: a header and slots, mapped by every process that takes part.
//!
//! The processes are of several kinds (test binaries, Python with the core and without it, servers
//! that tests start) and come and go at any time. So the file is the only thing they share, and its
//! layout is the contract. All numbers are in the byte order of the machine:
//!
//! ```text
//! header, 64 bytes    0 magic "VSPTRACE"   8 version u32   12 slot bytes u32
//!                    16 capacity u32      20 used u32
//! slot, 512 bytes     0 reached u64        8 acted u64     16 disabled u32   20 kind u32
//!                    24 ids bytes u16     26 site bytes u16
//!                    32 ids, separated by spaces, and behind them the site, both UTF-8
//! ```
//!
//! Slots are taken under `flock` on a description of the file opened for that purpose alone, which
//! excludes other threads as well as other processes, Python's as well as ours; a mark asks once
//! in a process. A slot never moves and is never given back, so that counting needs no lock. The
//! counters are atomic here; Python's are not, and may count two processes' acts as one, but never
//! none. Nobody may truncate a file that is mapped.

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::mem::{align_of, size_of};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};
use std::{fmt, ptr, slice};

/// The environment variable that names the file.
pub const VARIABLE: &str = "VESPIARY_TRACE";

/// Slots of a file that is made where none is: twice what the largest specifications need.
pub const CAPACITY: u32 = 4096;

/// Bytes that the identifiers and the site of one slot may have together.
pub const TEXT_BYTES_MAX: usize = 480;

/// What a slot has as `disabled` while its condition is taken for true, whatever it is.
pub const FORCED: u32 = 4;

const MAGIC: [u8; 8] = *b"VSPTRACE";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const SLOT_BYTES: usize = 512;

/// What a slot is about.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A condition that implements requirements; its site is `file:line:column`.
    Mark = 1,
    /// A test that claims requirements; its site is the test's name.
    Claim = 2,
}

/// One mark or claim, as all processes see it.
#[repr(C)]
pub struct Slot {
    /// How often it was executed.
    pub reached: AtomicU64,
    /// How often its condition was true, whether it was disabled or not.
    pub acted: AtomicU64,
    /// Not 0 while the mark is disabled, or [`FORCED`].
    pub disabled: AtomicU32,
    kind: AtomicU32,
    ids_bytes: AtomicU16,
    site_bytes: AtomicU16,
    reserved: AtomicU32,
    text: [AtomicU8; TEXT_BYTES_MAX],
}

const _: () = assert!(size_of::<Slot>() == SLOT_BYTES && align_of::<Slot>() == 8);

impl Slot {
    /// The identifiers, separated by spaces.
    pub fn ids(&self) -> String {
        self.text(0, usize::from(self.ids_bytes.load(Relaxed)))
    }

    /// Where the mark stands, or the name of the test.
    pub fn site(&self) -> String {
        let begin = usize::from(self.ids_bytes.load(Relaxed));
        self.text(begin, usize::from(self.site_bytes.load(Relaxed)))
    }

    fn text(&self, begin: usize, length: usize) -> String {
        let bytes: Vec<u8> = self.text.iter().map(|byte| byte.load(Relaxed)).collect();
        String::from_utf8_lossy(bytes.get(begin..begin + length).unwrap_or_default()).into_owned()
    }

    fn is(&self, kind: Kind, ids: &str, site: &str) -> bool {
        self.kind.load(Relaxed) == kind as u32 && self.ids() == ids && self.site() == site
    }

    fn fill(&self, kind: Kind, ids: &str, site: &str) {
        self.kind.store(kind as u32, Relaxed);
        self.ids_bytes.store(ids.len() as u16, Relaxed);
        self.site_bytes.store(site.len() as u16, Relaxed);
        for (place, byte) in self.text.iter().zip(ids.bytes().chain(site.bytes())) {
            place.store(byte, Relaxed);
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Slot({:?} at {:?})", self.ids(), self.site())
    }
}

/// Why a file cannot serve as the table of a traced run.
#[derive(Debug)]
pub enum TableError {
    /// The system refused; the path says where.
    System(PathBuf, io::Error),
    /// The file is something else, or of another version; nothing in it was changed.
    Foreign(PathBuf),
    /// All of its slots are taken: how many there are.
    Full(PathBuf, u32),
    /// The identifiers and the site of a mark have more than [`TEXT_BYTES_MAX`] bytes together.
    TooLong(String),
}

impl fmt::Display for TableError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(path, error) => write!(formatter, "{}: {error}", path.display()),
            Self::Foreign(path) => write!(
                formatter,
                "{} is not a table of traced marks, version {VERSION}: name a new file",
                path.display()
            ),
            Self::Full(path, capacity) => write!(
                formatter,
                "{} is full: it has {capacity} slots; make it with more",
                path.display()
            ),
            Self::TooLong(site) => write!(
                formatter,
                "the mark at {site} has more than {TEXT_BYTES_MAX} bytes of identifiers and path"
            ),
        }
    }
}

impl std::error::Error for TableError {}

#[repr(C, align(64))]
struct Header {
    start: [AtomicU8; 20],
    used: AtomicU32,
    reserved: [AtomicU8; 40],
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES);

/// A mapped file. The mapping lasts as long as the process: marks are statics.
pub struct Table {
    path: PathBuf,
    header: &'static Header,
    slots: &'static [Slot],
}

impl Table {
    /// Maps the file at `path`; makes it, with [`CAPACITY`] slots, where there is none.
    pub fn open(path: &Path) -> Result<Self, TableError> {
        Self::open_or_make(path, CAPACITY)
    }

    /// The same with a capacity of one's own for a new file; an old one keeps what it has.
    pub fn open_or_make(path: &Path, capacity: u32) -> Result<Self, TableError> {
        let system = |error| TableError::System(path.to_path_buf(), error);
        let lock = locked(path).map_err(system)?;
        // A mapping keeps its description open, and with it a lock: this is another one.
        let mut file = opened(path).map_err(system)?;
        if lock.metadata().map_err(system)?.len() == 0 {
            make(&mut file, capacity).map_err(system)?;
        }
        let mut start = [0; 20];
        let capacity = match file.rewind().and_then(|()| file.read_exact(&mut start)) {
            Ok(()) => capacity_of(&start),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(system(error)),
        };
        let capacity = capacity.ok_or_else(|| TableError::Foreign(path.to_path_buf()))?;
        let bytes = HEADER_BYTES + capacity as usize * SLOT_BYTES;
        if lock.metadata().map_err(system)?.len() != bytes as u64 {
            return Err(TableError::Foreign(path.to_path_buf()));
        }
        let (header, slots) = map(&file, bytes, capacity as usize).map_err(system)?;
        Ok(Self {
            path: path.to_path_buf(),
            header,
            slots,
        })
    }

    /// The slots that are taken.
    pub fn slots(&self) -> &'static [Slot] {
        let used = self.header.used.load(Acquire) as usize;
        &self.slots[..used.min(self.slots.len())]
    }

    /// The slot of this mark or claim, in whichever process it was first seen.
    pub fn claim(&self, kind: Kind, ids: &str, site: &str) -> Result<&'static Slot, TableError> {
        if ids.len() + site.len() > TEXT_BYTES_MAX {
            return Err(TableError::TooLong(site.to_owned()));
        }
        let system = |error| TableError::System(self.path.clone(), error);
        let _lock = locked(&self.path).map_err(system)?;
        if let Some(slot) = self.slots().iter().find(|slot| slot.is(kind, ids, site)) {
            return Ok(slot);
        }
        let used = self.slots().len();
        let Some(slot) = self.slots.get(used) else {
            return Err(TableError::Full(self.path.clone(), used as u32));
        };
        slot.fill(kind, ids, site);
        self.header.used.store(used as u32 + 1, Release);
        Ok(slot)
    }
}

fn opened(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

/// Waits until nobody else takes slots; nobody else does until what this gives back is closed.
fn locked(path: &Path) -> io::Result<File> {
    let file = opened(path)?;
    loop {
        // SAFETY: the descriptor is open for as long as `file` is.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } == 0 {
            return Ok(file);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn make(file: &mut File, capacity: u32) -> io::Result<()> {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_ne_bytes());
    header[12..16].copy_from_slice(&(SLOT_BYTES as u32).to_ne_bytes());
    header[16..20].copy_from_slice(&capacity.to_ne_bytes());
    file.set_len((HEADER_BYTES + capacity as usize * SLOT_BYTES) as u64)?;
    file.write_all(&header)
}

/// The capacity that a header tells; none if it is not one of ours.
fn capacity_of(start: &[u8; 20]) -> Option<u32> {
    let number = |at: usize| start[at..at + 4].try_into().map(u32::from_ne_bytes).ok();
    let ours =
        start[..8] == MAGIC && number(8) == Some(VERSION) && number(12) == Some(SLOT_BYTES as u32);
    if ours { number(16) } else { None }
}

fn map(
    file: &File,
    bytes: usize,
    capacity: usize,
) -> io::Result<(&'static Header, &'static [Slot])> {
    const ACCESS: c_int = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing; the descriptor
    // is open for as long as `file` is borrowed.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            ACCESS,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping has `bytes` bytes, which are a header and `capacity` slots; it is aligned
    // to a page and never unmapped; and both types consist of atomics only, for which every bit
    // pattern is a value and which other processes may change.
    unsafe {
        let header = address.cast::<Header>();
        let first = header.add(1).cast::<Slot>();
        Ok((&*header, slice::from_raw_parts(first, capacity)))
    }
}
