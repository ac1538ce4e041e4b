//! How the allocator keeps memory.

use pyo3::prelude::*;

/// Keep glibc from giving the heap's end back to the kernel after every large message: for programs
/// that are a server, since it concerns the whole process.
///
/// A message of 64 KiB that is freed at the heap's end makes free(3) shrink the heap and the next
/// message grow it again, a page fault for every 4 KiB. Up to 16 MiB are kept instead, and blocks
/// up to 4 MiB come from the heap (mallopt(3)). If glibc's own variables are set, nothing is
/// changed.
#[pyfunction]
pub(crate) fn keep_heap() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let decided = |name| std::env::var_os(name).is_some();
        if decided("GLIBC_TUNABLES")
            || decided("MALLOC_TRIM_THRESHOLD_")
            || decided("MALLOC_MMAP_THRESHOLD_")
        {
            return;
        }
        #[cfg(target_env = "gnu")]
        // SAFETY: mallopt only sets parameters of the allocator.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 4 << 20);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 16 << 20);
        }
    });
}
