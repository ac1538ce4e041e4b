//! Which file each address belongs to: the loaded objects, kept as they are met.
//!
//! Told in the region because a process that has ended has no `/proc/PID/maps` any more.

use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::region::{Lost, MODULES_MAX, Module, Region};

/// Makes sure that the objects behind these addresses are known.
pub(crate) fn know(region: &Region, addresses: &[u64]) {
    if addresses.iter().any(|address| !is_known(region, *address)) {
        let data: *const Region = region;
        // SAFETY: `visit` takes the region that is given here.
        unsafe { libc::dl_iterate_phdr(Some(visit), data.cast_mut().cast()) };
    }
}

fn known(region: &Region) -> &[Module] {
    let count = region.header.modules.load(Ordering::Acquire) as usize;
    &region.modules[..count.min(MODULES_MAX)]
}

fn is_known(region: &Region, address: u64) -> bool {
    known(region).iter().any(|module| {
        let start = module.start.load(Ordering::Relaxed);
        (start..module.end.load(Ordering::Relaxed)).contains(&address)
    })
}

unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    data: *mut c_void,
) -> c_int {
    // SAFETY: `know` gave the region, the loader gives a whole structure.
    let (region, info) = unsafe { (&*data.cast::<Region>(), &*info) };
    // SAFETY: the loader's array of this object's segments.
    let segments =
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let mut loaded = segments
        .iter()
        .filter(|segment| segment.p_type == libc::PT_LOAD)
        .map(|segment| {
            let start = info.dlpi_addr + segment.p_vaddr;
            (start, start + segment.p_memsz)
        });
    let Some((start, mut end)) = loaded.next() else {
        return 0;
    };
    for (_, behind) in loaded {
        end = end.max(behind);
    }
    if !is_known(region, start) {
        add(region, start, end, info);
    }
    0
}

fn add(region: &Region, start: u64, end: u64, info: &libc::dl_phdr_info) {
    let counter = &region.header.modules;
    let Some(number) = region.claim(counter, MODULES_MAX, Lost::Modules) else {
        return;
    };
    let module = &region.modules[number];
    // SAFETY: the loader's names end with a zero; the program's own is empty.
    let name = unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes();
    if name.is_empty() {
        program_path(&module.path);
    } else {
        for (slot, byte) in module.path.iter().zip(name) {
            slot.store(*byte, Ordering::Relaxed);
        }
    }
    module.bias.store(info.dlpi_addr, Ordering::Relaxed);
    module.start.store(start, Ordering::Relaxed);
    module.end.store(end, Ordering::Release);
}

fn program_path(path: &[AtomicU8]) {
    let mut bytes = [0_u8; 512];
    let most = bytes.len().min(path.len());
    // SAFETY: the link's text goes into our array and is no longer than it.
    let length =
        unsafe { libc::readlink(c"/proc/self/exe".as_ptr(), bytes.as_mut_ptr().cast(), most) };
    let length = usize::try_from(length).unwrap_or(0);
    for (slot, byte) in path.iter().zip(&bytes[..length]) {
        slot.store(*byte, Ordering::Relaxed);
    }
}
