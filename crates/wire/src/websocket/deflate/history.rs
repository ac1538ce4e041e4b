//! The last bytes of what was inflated, as many as the window holds.

/// A ring that grows with what is put into it, up to the size of a window.
#[derive(Debug)]
pub struct History {
    bytes: Vec<u8>,
    /// Where the oldest byte is, once the ring is full.
    oldest: usize,
    size: usize,
}

impl History {
    /// Of a window of `window_bits` (8 to 15); nothing is allocated yet.
    pub fn new(window_bits: u8) -> Self {
        Self {
            bytes: Vec::new(),
            oldest: 0,
            size: 1 << window_bits,
        }
    }

    /// What it holds of memory, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// What it holds: the older piece, then the newer one.
    pub fn pieces(&self) -> [&[u8]; 2] {
        let (newer, older) = self.bytes.split_at(self.oldest);
        [older, newer]
    }

    /// Forget everything, and keep the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.oldest = 0;
    }

    /// Add what was inflated, in order.
    pub fn add(&mut self, inflated: &[u8]) {
        let kept = &inflated[inflated.len().saturating_sub(self.size)..];
        let (grown, over) = kept.split_at(kept.len().min(self.size - self.bytes.len()));
        if !grown.is_empty() {
            self.grow(grown);
        }
        self.overwrite(over);
    }

    fn grow(&mut self, piece: &[u8]) {
        let wanted = self.bytes.len() + piece.len();
        if wanted > self.bytes.capacity() {
            let room = wanted.next_power_of_two().min(self.size);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
    }

    fn overwrite(&mut self, piece: &[u8]) {
        let (first, second) = piece.split_at(piece.len().min(self.bytes.len() - self.oldest));
        self.bytes[self.oldest..][..first.len()].copy_from_slice(first);
        self.bytes[..second.len()].copy_from_slice(second);
        self.oldest += piece.len();
        if self.oldest >= self.size {
            self.oldest -= self.size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_holds_the_last_bytes_however_they_came() {
        let all: Vec<u8> = (0..5000u32).map(|number| (number * 7 / 3) as u8).collect();
        for step in [1, 3, 100, 255, 256, 257, 1000, 5000] {
            let mut history = History::new(8);
            let mut done = 0;
            for piece in all.chunks(step) {
                history.add(piece);
                done += piece.len();
                let expected = &all[done.saturating_sub(256)..done];
                assert_eq!(history.pieces().concat(), expected, "{step} {done}");
                assert!(history.memory_bytes() <= 256);
            }
        }
    }

    #[test]
    fn a_history_takes_no_more_memory_than_it_was_given_bytes() {
        let mut history = History::new(15);
        assert_eq!(history.memory_bytes(), 0);
        history.add(&[1; 100]);
        assert_eq!(history.memory_bytes(), 128);
        for _ in 0..1000 {
            history.add(&[2; 100]);
        }
        assert_eq!(history.memory_bytes(), 32768);
    }
}
