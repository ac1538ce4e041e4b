//! The bytes of a received message, in the object that the host passes to its handler.

/// A message's bytes.
///
/// Every allocation can fail: the peer chooses its size, and a peer must not be able to end the
/// process.
pub trait Payload: Sized {
    /// Room for `length` bytes of undefined content. `None` when memory is short.
    fn with_length(length: usize) -> Option<Self>;
    /// All of it.
    fn bytes(&self) -> &[u8];
    /// All of it, to be filled.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Change the length and keep what fits. `None` when memory is short.
    fn resized(self, length: usize) -> Option<Self>;
}

impl Payload for Vec<u8> {
    fn with_length(length: usize) -> Option<Self> {
        let mut bytes = Self::new();
        bytes.try_reserve_exact(length).ok()?;
        bytes.resize(length, 0);
        Some(bytes)
    }

    fn bytes(&self) -> &[u8] {
        self
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }

    fn resized(mut self, length: usize) -> Option<Self> {
        let more = length.saturating_sub(self.len());
        self.try_reserve_exact(more).ok()?;
        self.resize(length, 0);
        Some(self)
    }
}
