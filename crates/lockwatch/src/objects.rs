//! Which loaded object an address belongs to, without waiting for the dynamic loader.
//!
//! A thread that runs code of this library may hold any lock of the program. The loader holds its
//! own lock while it runs the constructors of a library, and these may want the lock of the
//! program. So asking the loader (dladdr(3), dlsym(3)) could cause a deadlock that the program does
//! not have. `_dl_find_object` (glibc 2.35) takes no lock. Older C libraries have only
//! `dl_iterate_phdr`, whose lock the loader holds only while it changes its list.

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::{loaded, real};

/// A loaded object.
#[derive(Clone, Copy)]
pub(crate) struct Object {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// What is added to the file's own addresses.
    pub(crate) bias: u64,
    /// Its table of frames (`.eh_frame_hdr`), 0 where it has none.
    pub(crate) frames: u64,
    name: *const c_char,
}

impl Object {
    /// Its path as the loader has it; empty for the program itself.
    pub(crate) fn name(&self) -> &[u8] {
        if self.name.is_null() {
            return b"";
        }
        // SAFETY: the loader's names end with a zero, and stay while the object is loaded: its code
        // is running, or the caller knows that it is loaded.
        unsafe { CStr::from_ptr(self.name) }.to_bytes()
    }

    /// Whether its path has this part.
    pub(crate) fn is_named(&self, part: &[u8]) -> bool {
        self.name().windows(part.len()).any(|found| found == part)
    }
}

/// `struct dl_find_object` of `<dlfcn.h>`; on some processors longer by a word.
#[repr(C)]
struct Found {
    flags: u64,
    start: u64,
    end: u64,
    map: *const LinkMap,
    frames: u64,
    reserved: [u64; 9],
}

/// The part of `struct link_map` (`<link.h>`) that everybody may read.
#[repr(C)]
struct LinkMap {
    bias: u64,
    name: *const c_char,
}

type FindObject = unsafe extern "C" fn(*const c_void, *mut Found) -> c_int;

/// The object that an address lies in.
pub(crate) fn find(address: u64) -> Option<Object> {
    // SAFETY: the type of `_dl_find_object`.
    let Some(look_up) = (unsafe { real::FIND_OBJECT.present::<FindObject>() }) else {
        return iterate(address);
    };
    let mut found = Found {
        flags: 0,
        start: 0,
        end: 0,
        map: std::ptr::null(),
        frames: 0,
        reserved: [0; 9],
    };
    // SAFETY: any address may be asked for; the structure is ours, and at least as large as the C
    // library's. An object that is found has a map.
    unsafe {
        if look_up(address as *const c_void, &raw mut found) != 0 {
            return None;
        }
        Some(Object {
            start: found.start,
            end: found.end,
            bias: (*found.map).bias,
            frames: found.frames,
            name: (*found.map).name,
        })
    }
}

#[cold]
fn iterate(address: u64) -> Option<Object> {
    loaded::find(|info| {
        let start = loaded::spans(info).map(|(start, _)| start).min()?;
        let end = loaded::spans(info).map(|(_, end)| end).max()?;
        let frames = loaded::segments(info)
            .iter()
            .find(|segment| segment.p_type == libc::PT_GNU_EH_FRAME)
            .map_or(0, |segment| info.dlpi_addr + segment.p_vaddr);
        (start..end).contains(&address).then_some(Object {
            start,
            end,
            bias: info.dlpi_addr,
            frames,
            name: info.dlpi_name,
        })
    })
}
