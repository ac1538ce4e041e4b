//! Creating the file that is shared with the watcher; its layout is in [`crate::layout`].
//!
//! Each process has one file, named `PID-TIME.locks`, in the folder that `VESPIARY_LOCKS` names.

use std::cell::UnsafeCell;
use std::io::Write as _;
use std::mem::{MaybeUninit, size_of};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::layout::{
    ARRAYS, CHILDREN_MAX, Child, EDGES_MAX, EVENTS_MAX, Edge, Event, Header, LOCKS_MAX, Lock, Lost,
    MAGIC, MODULES_MAX, Module, Place, SHARED_MAX, Shared, TEXT_MAX, THREADS_MAX, Thread,
    WORDS_MAX,
};
use crate::notes::{self, RECORD_BYTES};
use crate::restrictions;

/// The mapped file.
pub(crate) struct Region {
    pub(crate) header: &'static Header,
    pub(crate) threads: &'static [Thread],
    pub(crate) locks: &'static [Lock],
    pub(crate) edges: &'static [Edge],
    pub(crate) events: &'static [Event],
    pub(crate) words: &'static [AtomicU64],
    pub(crate) modules: &'static [Module],
    pub(crate) text: &'static [AtomicU8],
    pub(crate) shared: &'static [Shared],
    pub(crate) children: &'static [Child],
}

/// Where the region's own slices are kept, without an allocation.
struct Slot(UnsafeCell<MaybeUninit<Region>>);

// SAFETY: written once per process, by the thread that swapped `MAY_OPEN`, before `REGION` reports
// it; only read afterwards.
unsafe impl Sync for Slot {}

static PLACE: Slot = Slot(UnsafeCell::new(MaybeUninit::uninit()));

static REGION: AtomicPtr<Region> = AtomicPtr::new(ptr::null_mut());

/// Whether a region may still be made: not before the library is loaded, once per process.
static MAY_OPEN: AtomicBool = AtomicBool::new(false);

static MAKE: OnceLock<fn()> = OnceLock::new();

/// The region; made by the first operation on a lock, so that a process without any costs nothing.
#[inline]
pub(crate) fn region() -> Option<&'static Region> {
    // SAFETY: the pointer is null or to the slot, which is never changed again.
    let region = unsafe { REGION.load(Ordering::Acquire).as_ref() };
    if region.is_none() { first() } else { region }
}

#[cold]
fn first() -> Option<&'static Region> {
    if MAY_OPEN.swap(false, Ordering::AcqRel)
        && let Some(make) = MAKE.get()
    {
        make();
    }
    // SAFETY: as above.
    unsafe { REGION.load(Ordering::Acquire).as_ref() }
}

/// The region as it is.
pub(crate) fn present() -> Option<&'static Region> {
    // SAFETY: as above.
    unsafe { REGION.load(Ordering::Acquire).as_ref() }
}

/// From now on the first operation makes a region, by the function that was given first.
pub(crate) fn allow(make: fn()) {
    MAKE.get_or_init(|| make);
    MAY_OPEN.store(true, Ordering::Release);
}

impl Region {
    /// The threads that there have been so far.
    pub(crate) fn threads_seen(&self) -> &[Thread] {
        let count = self.header.threads.load(Ordering::Relaxed) as usize;
        &self.threads[..count.min(THREADS_MAX)]
    }

    /// The next moment, of creating and joining threads.
    pub(crate) fn moment(&self) -> u32 {
        self.header.segments.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn lose(&self, what: Lost) {
        self.header.lost[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the next item of an array; `None` when it is full.
    pub(crate) fn claim(&self, counter: &AtomicU32, most: usize, what: Lost) -> Option<usize> {
        let taken = counter.fetch_add(1, Ordering::Relaxed) as usize;
        if taken < most {
            return Some(taken);
        }
        counter.store(most as u32, Ordering::Relaxed);
        self.lose(what);
        None
    }
}

/// Makes this process's file and maps it. Quiet about failure: the program continues unwatched, and
/// the watcher finds no file.
pub(crate) fn open(folder: &[u8]) {
    let sizes = [
        (size_of::<Thread>(), THREADS_MAX),
        (size_of::<Lock>(), LOCKS_MAX),
        (size_of::<Edge>(), EDGES_MAX),
        (size_of::<Event>(), EVENTS_MAX),
        (size_of::<AtomicU64>(), WORDS_MAX),
        (size_of::<Module>(), MODULES_MAX),
        (1, TEXT_MAX),
        (size_of::<Shared>(), SHARED_MAX),
        (size_of::<Child>(), CHILDREN_MAX),
    ];
    let mut offset = size_of::<Header>().next_multiple_of(4096);
    let mut places = [Place::default(); ARRAYS];
    for (place, (item_bytes, items_max)) in places.iter_mut().zip(sizes) {
        *place = Place {
            offset: offset as u64,
            item_bytes: item_bytes as u32,
            items_max: items_max as u32,
        };
        offset += (item_bytes * items_max).next_multiple_of(4096);
    }
    // Nothing here may allocate: the first lock of a program may be its allocator's own.
    let mut path = [0_u8; RECORD_BYTES];
    let Some(stem) = stem(folder, &mut path) else {
        return;
    };
    let Some(base) = map_file(stem, offset) else {
        return;
    };
    let header: *mut Header = base;
    let base = base.cast::<u8>();
    // SAFETY: the mapping is fresh, zeroed, page-aligned and as large as the places say; nothing
    // else in this process points into it, and it is never unmapped. The arrays are of atomics.
    unsafe {
        (*header).pid = libc::getpid() as u32;
        (*header).parent = libc::getppid() as u32;
        (*header).started = crate::clock::now();
        (*header).pid_namespace = pid_namespace();
        (*header).places = places;
        (*header).segments.store(1, Ordering::Relaxed);
        ptr::addr_of_mut!((*header).magic).write_volatile(MAGIC);
        let at = |number: usize| base.add(places[number].offset as usize);
        let region = Region {
            header: &*header,
            threads: std::slice::from_raw_parts(at(0).cast(), THREADS_MAX),
            locks: std::slice::from_raw_parts(at(1).cast(), LOCKS_MAX),
            edges: std::slice::from_raw_parts(at(2).cast(), EDGES_MAX),
            events: std::slice::from_raw_parts(at(3).cast(), EVENTS_MAX),
            words: std::slice::from_raw_parts(at(4).cast(), WORDS_MAX),
            modules: std::slice::from_raw_parts(at(5).cast(), MODULES_MAX),
            text: std::slice::from_raw_parts(at(6).cast(), TEXT_MAX),
            shared: std::slice::from_raw_parts(at(7).cast(), SHARED_MAX),
            children: std::slice::from_raw_parts(at(8).cast(), CHILDREN_MAX),
        };
        let place = PLACE.0.get().cast::<Region>();
        place.write(region);
        REGION.store(place, Ordering::Release);
    }
    crate::log::open(folder, stem);
}

/// The inode of this process's PID namespace (`pid_namespaces(7)`); 0 where there is no `/proc`.
fn pid_namespace() -> u32 {
    let mut found = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the path ends with a zero; what is read was filled in if the call succeeds.
    unsafe {
        match libc::stat(c"/proc/self/ns/pid".as_ptr(), found.as_mut_ptr()) {
            0 => found.assume_init().st_ino as u32,
            _ => 0,
        }
    }
}

/// The path of this process's files without their endings.
fn stem<'a>(folder: &[u8], path: &'a mut [u8]) -> Option<&'a [u8]> {
    let most = path.len();
    let mut rest = &mut *path;
    rest.write_all(folder).ok()?;
    let (pid, time) = (std::process::id(), crate::clock::now());
    write!(rest, "/{pid}-{time}").ok()?;
    let length = most - rest.len();
    Some(&path[..length])
}

/// From now on there is none: a child has not made its own yet.
pub(crate) fn forget() {
    REGION.store(ptr::null_mut(), Ordering::Release);
}

fn map_file(stem: &[u8], bytes: usize) -> Option<*mut Header> {
    let mut path = [0_u8; RECORD_BYTES];
    let mut rest = path.as_mut_slice();
    rest.write_all(stem).ok()?;
    rest.write_all(b".locks\0").ok()?;
    // SAFETY: the path ends with a zero; the descriptor is ours and closed once it is mapped.
    unsafe {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
        let file = restrictions::open(&path, flags, 0o600);
        if file < 0 {
            return None;
        }
        let mut base = libc::MAP_FAILED;
        if notes::enlarge(|| libc::ftruncate(file, bytes as libc::off_t)) == 0 {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            base = libc::mmap(ptr::null_mut(), bytes, access, libc::MAP_SHARED, file, 0);
        }
        libc::close(file);
        (base != libc::MAP_FAILED).then_some(base.cast())
    }
}
