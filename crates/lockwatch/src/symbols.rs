//! Functions and objects by their names, found in the loaded files without the dynamic loader.
//!
//! dlsym(3) takes the loader's lock. Another thread may hold this lock while it runs a constructor
//! that wants a lock of the calling thread (see `objects`). So names that are needed after the
//! start are looked up here: in the symbol table of each object, by the hash table that the linker
//! has written (`DT_GNU_HASH`), in the order in which the objects were loaded.

use std::ffi::{CStr, c_void};

use libc::{Elf64_Sym, dl_phdr_info};

use crate::loaded;

const STRINGS: u64 = 5;
const SYMBOLS: u64 = 6;
const RUN_PATHS: [u64; 2] = [15, 29];
const GNU_HASH: u64 = 0x6fff_fef5;
/// Types of symbols: an object, a function, and either.
const TYPES: [u8; 3] = [0, 1, 2];

/// A symbol: where it is, and how large.
#[derive(Clone, Copy)]
pub(crate) struct Symbol {
    pub(crate) address: *mut c_void,
    pub(crate) bytes: usize,
}

/// What an object says about itself (`Elf64_Dyn`).
#[repr(C)]
struct Entry {
    tag: u64,
    value: u64,
}

/// The first object's that has a symbol of this name, this library aside.
pub(crate) fn find(name: &CStr) -> Option<Symbol> {
    let name = name.to_bytes_with_nul();
    let hash = hash(&name[..name.len() - 1]);
    loaded::find(|info| {
        if loaded::span_of(info, find as *const () as u64).is_some() {
            return None;
        }
        // SAFETY: the object is loaded while it is checked; the name ends with a zero.
        unsafe { Dynamic::of(info)?.find(name, hash) }
    })
}

fn hash(name: &[u8]) -> u32 {
    name.iter().fold(5381, |hash: u32, byte| {
        hash.wrapping_mul(33).wrapping_add(u32::from(*byte))
    })
}

/// The tables of an object.
struct Dynamic {
    bias: u64,
    strings: *const u8,
    symbols: *const Elf64_Sym,
    hashes: *const u64,
}

fn entries(info: &dl_phdr_info) -> impl Iterator<Item = &Entry> {
    let segment = loaded::segments(info)
        .iter()
        .find(|segment| segment.p_type == libc::PT_DYNAMIC);
    let mut at = segment.map_or(std::ptr::null(), |segment| {
        (info.dlpi_addr + segment.p_vaddr) as *const Entry
    });
    std::iter::from_fn(move || {
        // SAFETY: the entries end with one whose tag is 0.
        let entry = unsafe { at.as_ref() }.filter(|entry| entry.tag != 0)?;
        at = at.wrapping_add(1);
        Some(entry)
    })
}

impl Dynamic {
    /// # Safety
    ///
    /// The object is loaded, and stays.
    unsafe fn of(info: &dl_phdr_info) -> Option<Self> {
        let bias = info.dlpi_addr;
        let (mut strings, mut symbols, mut hashes) = (0, 0, 0);
        for entry in entries(info) {
            let place = match entry.tag {
                STRINGS => &mut strings,
                SYMBOLS => &mut symbols,
                GNU_HASH => &mut hashes,
                _ => continue,
            };
            // The loader has added the bias already, but not in the kernel's own object.
            *place = if entry.value < bias {
                entry.value + bias
            } else {
                entry.value
            };
        }
        (strings != 0 && symbols != 0 && hashes != 0).then_some(Self {
            bias,
            strings: strings as *const u8,
            symbols: symbols as *const Elf64_Sym,
            hashes: hashes as *const u64,
        })
    }

    /// # Safety
    ///
    /// The same; the name ends with a zero.
    unsafe fn find(&self, name: &[u8], hash: u32) -> Option<Symbol> {
        // SAFETY: the table is as the linker makes it: four numbers, the words of a filter, where
        // each bucket begins, and the hashes, of which the last of each bucket is odd.
        unsafe {
            let head = std::slice::from_raw_parts(self.hashes.cast::<u32>(), 4);
            let (buckets, first, words, shift) = (head[0], head[1], head[2], head[3]);
            if buckets == 0 || words == 0 {
                return None;
            }
            let filter = self.hashes.add(2);
            let word = filter.add((hash / 64 % words) as usize).read();
            let bits = 1_u64 << (hash % 64) | 1_u64 << (hash >> shift & 63);
            if word & bits != bits {
                return None;
            }
            let starts = filter.add(words as usize).cast::<u32>();
            let chain = starts.add(buckets as usize);
            let mut number = starts.add((hash % buckets) as usize).read();
            while number >= first {
                let its_hash = chain.add((number - first) as usize).read();
                let symbol = &*self.symbols.add(number as usize);
                if its_hash | 1 == hash | 1 && self.is_named(symbol, name) {
                    return Some(Symbol {
                        address: (self.bias + symbol.st_value) as *mut c_void,
                        bytes: symbol.st_size as usize,
                    });
                }
                if its_hash & 1 == 1 {
                    break;
                }
                number += 1;
            }
            None
        }
    }

    /// # Safety
    ///
    /// The same.
    unsafe fn is_named(&self, symbol: &Elf64_Sym, name: &[u8]) -> bool {
        // SAFETY: the names lie in the object's strings, each ended by a zero.
        let its_name = unsafe { CStr::from_ptr(self.strings.add(symbol.st_name as usize).cast()) };
        symbol.st_shndx != 0
            && symbol.st_value != 0
            && TYPES.contains(&(symbol.st_info & 15))
            && its_name.to_bytes_with_nul() == name
    }
}

/// Whether the object that an address lies in has a path of its own for what it loads
/// (`DT_RUNPATH`).
pub(crate) fn has_run_path(address: u64) -> bool {
    let found = loaded::find(|info| {
        loaded::span_of(info, address)?;
        Some(entries(info).any(|entry| RUN_PATHS.contains(&entry.tag)))
    });
    found == Some(true)
}
