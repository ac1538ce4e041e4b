//! Allocations whose size a peer chooses: one that fails ends its connection, and nothing else.

use crate::close::{CloseReason, out_of_memory};

/// An empty buffer with room for `size` bytes, if there is memory for it.
#[inline]
pub(crate) fn with_capacity(size: usize) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(size).ok()?;
    Some(buffer)
}

/// Append `bytes` to `buffer`.
#[inline]
pub(crate) fn extend(buffer: &mut Vec<u8>, bytes: &[u8]) -> Result<(), CloseReason> {
    if buffer.capacity() - buffer.len() < bytes.len() {
        buffer
            .try_reserve(bytes.len())
            .map_err(|_| out_of_memory())?;
    }
    buffer.extend_from_slice(bytes);
    Ok(())
}

/// Change the length of `buffer`, with zeros in what is new.
#[inline]
pub(crate) fn resize(buffer: &mut Vec<u8>, length: usize) -> Result<(), CloseReason> {
    if buffer.capacity() < length {
        buffer
            .try_reserve(length - buffer.len())
            .map_err(|_| out_of_memory())?;
    }
    buffer.resize(length, 0);
    Ok(())
}
