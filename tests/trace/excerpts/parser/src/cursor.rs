//! Bytes that are read one by one.

pub struct Cursor<'b> {
    bytes: &'b [u8],
    place: usize,
}

impl<'b> Cursor<'b> {
    pub const fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, place: 0 }
    }

    pub const fn place(&self) -> usize {
        self.place
    }

    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.place).copied()
    }

    pub fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.place += 1;
        Some(byte)
    }

    /// What was read since a place, without the last `skipped` bytes.
    pub fn since(&self, start: usize, skipped: usize) -> &'b [u8] {
        &self.bytes[start..self.place - skipped]
    }
}
