//! The objects that are loaded, one after the other (`dl_iterate_phdr(3)`), and their segments.

use std::ffi::{c_int, c_void};

use libc::{Elf64_Phdr, dl_phdr_info};

struct Search<L, T> {
    look: L,
    found: Option<T>,
}

/// The first answer that `look` has, of the objects in the order in which they were loaded.
pub(crate) fn find<T, L: FnMut(&dl_phdr_info) -> Option<T>>(look: L) -> Option<T> {
    let mut search = Search { look, found: None };
    // SAFETY: `visit` takes the very structure that is given here.
    unsafe { libc::dl_iterate_phdr(Some(visit::<T, L>), (&raw mut search).cast()) };
    search.found
}

unsafe extern "C" fn visit<T, L: FnMut(&dl_phdr_info) -> Option<T>>(
    info: *mut dl_phdr_info,
    _size: usize,
    data: *mut c_void,
) -> c_int {
    // SAFETY: `find` gave the search, the loader a whole structure of an object that is loaded.
    let (search, info) = unsafe { (&mut *data.cast::<Search<L, T>>(), &*info) };
    search.found = (search.look)(info);
    c_int::from(search.found.is_some())
}

pub(crate) fn segments(info: &dl_phdr_info) -> &[Elf64_Phdr] {
    // SAFETY: the loader's array of this object's segments.
    unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) }
}

/// Where the parts of an object that are loaded begin and end.
pub(crate) fn spans(info: &dl_phdr_info) -> impl Iterator<Item = (u64, u64)> {
    segments(info)
        .iter()
        .filter(|segment| segment.p_type == libc::PT_LOAD)
        .map(|segment| {
            let start = info.dlpi_addr + segment.p_vaddr;
            (start, start + segment.p_memsz)
        })
}

/// The part of an object that an address lies in.
pub(crate) fn span_of(info: &dl_phdr_info, address: u64) -> Option<(u64, u64)> {
    spans(info).find(|(start, end)| (*start..*end).contains(&address))
}
