//! Unpredictable bytes from the kernel, fetched a page at a time.

/// A source for the engine: getrandom(2) behind a small buffer.
pub(crate) fn source() -> vespiary_engine::Random {
    let mut buffer = [0u8; 1024];
    let mut used = buffer.len();
    Box::new(move |bytes: &mut [u8]| {
        for byte in bytes {
            if used == buffer.len() {
                fill(&mut buffer);
                used = 0;
            }
            *byte = std::mem::take(&mut buffer[used]);
            used += 1;
        }
    })
}

fn fill(buffer: &mut [u8]) {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        // SAFETY: the pointer and length describe memory that is ours to write.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        if got > 0 {
            filled += got as usize;
        } else {
            let error = std::io::Error::last_os_error();
            assert_eq!(
                error.kind(),
                std::io::ErrorKind::Interrupted,
                "getrandom: {error}"
            );
        }
    }
}
