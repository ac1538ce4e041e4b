//! What waits to be written: a tail that messages are appended to, and full pieces before it.
//!
//! Everything a batch sends on a connection gathers here and leaves in one send. Bytes are copied
//! into buffers from a pool; a message that is shared by many connections is in the queue as it is.
//! An idle connection holds no buffer: the tail goes to the port with the send and comes back to
//! the pool with its completion.

use crate::memory::with_capacity;
use std::collections::VecDeque;
use std::rc::Rc;
use vespiary_port::{CHUNKS_A_SEND_MAX, Chunk, FilePart, KeptBytes, Outgoing};

/// Sizes of pooled buffers: an ordinary reply; a batch of them; a bulk message of 64 KiB with its
/// head.
const CLASSES: [usize; 3] = [2 << 10, 16 << 10, 136 << 10];
/// How many idle buffers of each class are kept: 1 MiB, 4 MiB and 4.25 MiB at the most.
const KEPT: [usize; 3] = [512, 256, 32];

/// Idle buffers, by class.
#[derive(Default)]
pub(crate) struct Pool {
    idle: [Vec<Vec<u8>>; 3],
}

impl Pool {
    /// A buffer with room for at least `size` bytes, if there is memory for it.
    #[inline]
    pub(crate) fn take(&mut self, size: usize) -> Option<Vec<u8>> {
        for (class, idle) in CLASSES.iter().zip(&mut self.idle) {
            if size <= *class {
                return idle.pop().or_else(|| with_capacity(*class));
            }
        }
        with_capacity(size)
    }

    /// Take a buffer back; those of odd sizes are freed.
    #[inline]
    pub(crate) fn put(&mut self, mut buffer: Vec<u8>) {
        for ((class, idle), kept) in CLASSES.iter().zip(&mut self.idle).zip(KEPT) {
            if buffer.capacity() == *class {
                if idle.len() < kept {
                    buffer.clear();
                    idle.push(buffer);
                }
                return;
            }
        }
    }

    /// Take back all buffers of a send that is over.
    #[inline]
    pub(crate) fn put_all(&mut self, outgoing: Outgoing) {
        if outgoing.is_one() {
            return self.put(outgoing.into_single().unwrap_or_default());
        }
        for chunk in outgoing.into_chunks() {
            if let Chunk::Owned(buffer) = chunk {
                self.put(buffer);
            }
        }
    }
}

/// What a piece takes besides its bytes: its place in the queue, which may be half empty, and what
/// the allocator adds to a small buffer.
const PIECE_BYTES: usize = 2 * size_of::<Piece>() + 32;

/// With this many bytes waiting, a piece does not keep a buffer that is much too large for it: the
/// whole buffer counts, so half of `write_bytes_max` could be unused.
const CONGESTED_BYTES: usize = 64 << 10;
/// A buffer may be larger than its piece by one part in this many.
const UNUSED_SHARE: usize = 8;

struct Piece {
    chunk: Chunk,
    /// A whole message by itself, which a slow-consumer policy may drop.
    droppable: bool,
}

impl Piece {
    /// What it takes besides the bytes that are to be sent.
    fn overhead(&self) -> usize {
        match &self.chunk {
            Chunk::Owned(buffer) => PIECE_BYTES + buffer.capacity() - buffer.len(),
            Chunk::Shared(_) | Chunk::Kept(_) | Chunk::File(_) => PIECE_BYTES,
        }
    }

    /// What it takes with its bytes.
    fn weight(&self) -> usize {
        self.chunk.len() + self.overhead()
    }
}

/// Pieces before the tail.
#[derive(Default)]
struct Pieces {
    queue: VecDeque<Piece>,
    /// What they take besides their bytes, all together.
    overhead: usize,
    /// What those that may be dropped take.
    droppable: usize,
    /// How many at the front may not be dropped, at least.
    passed: usize,
}

impl Pieces {
    fn add(&mut self, piece: Piece) {
        self.overhead += piece.overhead();
        if piece.droppable {
            self.droppable += piece.weight();
        } else if self.passed == self.queue.len() {
            self.passed += 1;
        }
        self.queue.push_back(piece);
    }

    fn removed(&mut self, piece: &Piece) {
        self.overhead -= piece.overhead();
        if piece.droppable {
            self.droppable -= piece.weight();
        }
    }

    /// None of those that wait may be dropped.
    fn keep_all(&mut self) {
        for piece in &mut self.queue {
            piece.droppable = false;
        }
        self.droppable = 0;
        self.passed = self.queue.len();
    }

    /// The oldest that may be dropped.
    fn drop_oldest(&mut self) -> Option<Piece> {
        while !self.queue.get(self.passed)?.droppable {
            self.passed += 1;
            #[cfg(test)]
            tests::STEPS.set(tests::STEPS.get() + 1);
        }
        let piece = self.queue.remove(self.passed)?;
        self.removed(&piece);
        Some(piece)
    }
}

/// The write queue of a connection. `waiting` counts bytes that are not in flight.
#[derive(Default)]
pub(crate) struct Outbound {
    tail: Vec<u8>,
    /// Boxed, because most connections have none, and there are many connections.
    full: Option<Box<Pieces>>,
    waiting: usize,
    flying: usize,
}

impl Outbound {
    /// Bytes that the kernel has not taken.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.waiting + self.flying
    }

    /// Bytes that have not departed.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Let no policy drop what waits now: bytes are counted from here on. How many they are.
    pub(crate) fn keep_waiting(&mut self) -> usize {
        if let Some(full) = &mut self.full {
            full.keep_all();
        }
        self.waiting
    }

    /// Bytes of the buffers that it holds; those in flight are the port's.
    pub(crate) fn buffer_bytes(&self) -> usize {
        let room = self.full.as_ref().map_or(0, |full| full.queue.capacity());
        let pieces: usize = (self.pieces())
            .map(|piece| piece.chunk.as_slice().len())
            .sum();
        self.tail.capacity() + room * size_of::<Piece>() + pieces
    }

    /// Bytes in them that other connections hold too.
    pub(crate) fn shared_bytes(&self) -> usize {
        let shared = |piece: &&Piece| matches!(piece.chunk, Chunk::Shared(_));
        self.pieces()
            .filter(shared)
            .map(|piece| piece.chunk.len())
            .sum()
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.full.iter().flat_map(|full| full.queue.iter())
    }

    fn push(&mut self, chunk: Chunk, droppable: bool) {
        let full = self.full.get_or_insert_default();
        full.add(Piece { chunk, droppable });
    }

    /// Bytes of memory that are held for what waits or is in flight: never less than
    /// [`Outbound::queued`], and more where many small pieces wait.
    pub(crate) fn held(&self) -> usize {
        self.queued() + self.full.as_ref().map_or(0, |full| full.overhead)
    }

    /// Append `size` bytes that `write` puts at the end of the buffer it is given. False, and
    /// nothing is written, where there is no memory for them.
    #[inline]
    #[must_use]
    pub(crate) fn append(
        &mut self,
        size: usize,
        pool: &mut Pool,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        if self.tail.capacity() - self.tail.len() < size && !self.renew_tail(size, pool) {
            return false;
        }
        let before = self.tail.len();
        write(&mut self.tail);
        debug_assert_eq!(self.tail.len() - before, size);
        self.waiting += size;
        true
    }

    #[inline]
    fn retire_tail(&mut self) {
        if !self.tail.is_empty() {
            self.push_tail();
        }
    }

    #[cold]
    fn push_tail(&mut self) {
        let mut tail = std::mem::take(&mut self.tail);
        let unused = tail.capacity() - tail.len();
        if self.waiting >= CONGESTED_BYTES && unused > tail.len() / UNUSED_SHARE {
            tail.shrink_to_fit();
        }
        self.push(Chunk::Owned(tail), false);
    }

    #[must_use]
    fn renew_tail(&mut self, size: usize, pool: &mut Pool) -> bool {
        // What already waits says how much more is likely to come.
        let likely = self.waiting.min(CLASSES[1]);
        let Some(buffer) = pool.take(size.max(likely)) else {
            return false;
        };
        self.retire_tail();
        self.tail = buffer;
        true
    }

    /// Append a message of `size` bytes in a piece of its own, so that it can be dropped later.
    /// False where there is no memory for it.
    #[must_use]
    pub(crate) fn append_droppable(
        &mut self,
        size: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let Some(mut bytes) = with_capacity(size) else {
            return false;
        };
        write(&mut bytes);
        self.retire_tail();
        self.waiting += bytes.len();
        self.push(Chunk::Owned(bytes), true);
        true
    }

    /// Append bytes that their owner keeps until they are sent.
    pub(crate) fn append_kept(&mut self, kept: Rc<dyn KeptBytes>) {
        self.retire_tail();
        self.waiting += kept.bytes().len();
        self.push(Chunk::Kept(kept), false);
    }

    /// Append a part of a file, which the kernel copies.
    pub(crate) fn append_file(&mut self, part: FilePart) {
        self.retire_tail();
        self.waiting += part.len();
        self.push(Chunk::File(part), false);
    }

    /// Append bytes that other connections send too.
    pub(crate) fn append_shared(&mut self, bytes: Rc<Vec<u8>>) {
        self.retire_tail();
        self.waiting += bytes.len();
        self.push(Chunk::Shared(bytes), true);
    }

    /// Drop the oldest droppable messages until `size` more bytes fit within `bytes_max`; how many
    /// were dropped, and whether there is room now.
    pub(crate) fn drop_oldest(&mut self, size: usize, bytes_max: usize) -> (u64, bool) {
        let excess = (self.held() + size).saturating_sub(bytes_max);
        if excess > self.full.as_ref().map_or(0, |full| full.droppable) {
            // It would not fit with all of them gone, so none is dropped for nothing.
            return (0, false);
        }
        let mut dropped = 0;
        while self.held() + size > bytes_max
            && let Some(piece) = self.full.as_mut().and_then(|full| full.drop_oldest())
        {
            self.waiting -= piece.chunk.len();
            dropped += 1;
        }
        self.full.take_if(|full| full.queue.is_empty());
        (dropped, true)
    }

    /// Take what waits as one send; at most one is in flight, so this is called when none is.
    #[inline]
    pub(crate) fn depart(&mut self) -> Option<Outgoing> {
        debug_assert_eq!(self.flying, 0);
        if self.waiting == 0 {
            return None;
        }
        let outgoing = if self.full.is_none() {
            self.flying = self.tail.len();
            Outgoing::one(std::mem::take(&mut self.tail))
        } else {
            self.depart_with_pieces()
        };
        self.waiting -= self.flying;
        Some(outgoing)
    }

    fn depart_with_pieces(&mut self) -> Outgoing {
        self.retire_tail();
        let full = self.full.get_or_insert_default();
        let is_memory = |piece: &&Piece| !matches!(piece.chunk, Chunk::File(_));
        let count = (full.queue.iter().take(CHUNKS_A_SEND_MAX))
            .take_while(is_memory)
            .count();
        // A part of a file goes by itself.
        let mut many = Vec::with_capacity(count.max(1));
        for _ in 0..count.max(1) {
            let Some(piece) = full.queue.pop_front() else {
                break;
            };
            full.removed(&piece);
            many.push(piece.chunk);
        }
        full.passed = full.passed.saturating_sub(many.len());
        self.flying = many.iter().map(Chunk::len).sum();
        self.full.take_if(|full| full.queue.is_empty());
        match many.pop() {
            Some(Chunk::File(part)) => Outgoing::file(part),
            last => {
                many.extend(last);
                Outgoing::many(many)
            }
        }
    }

    /// Put bytes that were taken back before all others.
    pub(crate) fn put_back(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.waiting += bytes.len();
            let chunk = Chunk::Owned(bytes);
            let droppable = false;
            let full = self.full.get_or_insert_default();
            let piece = Piece { chunk, droppable };
            full.overhead += piece.overhead();
            full.passed += 1;
            full.queue.push_front(piece);
        }
    }

    /// The kernel took `bytes` of the send in flight.
    #[inline]
    pub(crate) fn left(&mut self, bytes: usize) {
        self.flying -= bytes;
    }

    /// This many bytes are in flight instead of those that were taken.
    pub(crate) fn departs(&mut self, bytes: usize) {
        self.flying += bytes;
    }

    /// Forget everything; the buffers go back to the pool.
    pub(crate) fn clear(&mut self, pool: &mut Pool) {
        let tail = std::mem::take(&mut self.tail);
        if tail.capacity() > 0 {
            pool.put(tail);
        }
        for piece in self.full.take().into_iter().flat_map(|full| full.queue) {
            if let Chunk::Owned(buffer) = piece.chunk {
                pool.put(buffer);
            }
        }
        self.waiting = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        /// Pieces that were skipped in search of one to drop.
        pub(super) static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn dropping_the_oldest_passes_over_each_piece_once() {
        const PIECES: usize = 10_000;
        let mut outbound = Outbound::default();
        let mut pool = Pool::default();
        for number in 0..PIECES {
            // One that must stay, and one that may be dropped.
            assert!(outbound.append(1, &mut pool, |out| out.push(0)));
            assert!(outbound.append_droppable(8, |out| out.extend((number as u64).to_be_bytes())));
        }
        let most = outbound.held();
        for _ in 0..PIECES {
            let (dropped, has_room) = outbound.drop_oldest(8, most - 1);
            assert!(has_room && dropped <= 1, "{dropped} were dropped");
            assert!(outbound.append_droppable(8, |out| out.extend([9; 8])));
        }
        assert!(STEPS.get() <= 2 * PIECES, "{} steps", STEPS.get());
    }

    #[test]
    fn what_cannot_make_room_is_skipped() {
        let mut outbound = Outbound::default();
        let mut pool = Pool::default();
        assert!(outbound.append_droppable(8, |out| out.extend([0; 8])));
        assert!(outbound.append(100, &mut pool, |out| out.extend([0; 100])));
        STEPS.set(0);
        assert_eq!(outbound.drop_oldest(1 << 20, 200), (0, false));
        assert_eq!(STEPS.get(), 0);
        assert_eq!(outbound.waiting(), 108, "nothing is dropped for nothing");
    }

    #[test]
    fn the_oldest_go_first_and_what_must_stay_stays() {
        let mut outbound = Outbound::default();
        let mut pool = Pool::default();
        for number in 0..4_u8 {
            assert!(outbound.append(1, &mut pool, |out| out.push(b'a' + number)));
            assert!(outbound.append_droppable(1, |out| out.push(number)));
        }
        let most = outbound.held();
        assert_eq!(outbound.drop_oldest(1, most), (1, true));
        let outgoing = outbound.depart().expect("bytes");
        let sent: Vec<u8> = outgoing.pieces().flatten().copied().collect();
        assert_eq!(sent, [b'a', b'b', 1, b'c', 2, b'd', 3]);
        pool.put_all(outgoing);
    }
}
