//! Buffers: received bytes are lent to the caller, and bytes to be sent are owned by the driver.
//!
//! Received bytes are in a [`Lease`]: a buffer of a pool that all connections of a port share, so
//! that an idle connection holds none. Dropping the lease returns the buffer to the pool at once.
//! While a lease is kept, nobody else can use its buffer. If all buffers are kept, receiving ends
//! with `ENOBUFS`.
//!
//! Bytes to send go in an [`Outgoing`], which the driver owns while the kernel may read them.
//! Nothing in it moves or is freed before the send's completion gives it back (rule 1 of the port):
//! a `Vec`'s bytes stay where they are when the handle moves.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;

use crate::FilePart;

/// Bytes of another owner, kept alive until they are sent.
///
/// # Safety
///
/// The bytes must stay where they are, unchanged, for as long as the value lives, wherever it is
/// moved: the kernel reads them.
pub unsafe trait KeptBytes: 'static {
    /// The bytes, the same at each call.
    fn bytes(&self) -> &[u8];
}

/// A run of bytes to send.
#[derive(Clone)]
pub enum Chunk {
    /// Bytes of this send alone; the vector comes back for use again.
    Owned(Vec<u8>),
    /// Bytes that several sends share: a message encoded once for many connections.
    Shared(Rc<Vec<u8>>),
    /// Bytes of the sender's own, large enough that keeping them is cheaper than copying them.
    Kept(Rc<dyn KeptBytes>),
    /// A part of a file, which is not in memory and goes in a send of its own.
    File(FilePart),
}

const _: () = assert!(
    size_of::<Chunk>() == size_of::<Vec<u8>>(),
    "each message in a write queue has one"
);

impl fmt::Debug for Chunk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Owned(_) => "Owned",
            Self::Shared(_) => "Shared",
            Self::Kept(_) => "Kept",
            Self::File(part) => return part.fmt(formatter),
        };
        formatter.debug_tuple(kind).field(&self.as_slice()).finish()
    }
}

impl Chunk {
    /// How many bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::File(part) => part.len(),
            _ => self.as_slice().len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes in memory; a part of a file has none there.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
            Self::Kept(kept) => kept.bytes(),
            Self::File(_) => &[],
        }
    }
}

/// How many chunks go to the kernel in one send; the rest waits for the next.
pub const CHUNKS_A_SEND_MAX: usize = 64;

#[derive(Debug)]
enum Body {
    One(Vec<u8>),
    Many { chunks: Vec<Chunk>, first: usize },
    File(FilePart),
}

/// What one send carries, and how much of it has gone.
///
/// A driver gives it back as it got it. After a short send the caller calls [`Outgoing::advance`]
/// with the completion's count and sends again while [`Outgoing::is_done`] says no.
#[derive(Debug)]
pub struct Outgoing {
    body: Body,
    /// Bytes gone of the first chunk that has not gone wholly.
    offset: usize,
    remaining: usize,
}

impl Outgoing {
    /// One buffer. Does not allocate.
    pub fn one(bytes: Vec<u8>) -> Self {
        Self {
            remaining: bytes.len(),
            body: Body::One(bytes),
            offset: 0,
        }
    }

    /// Several chunks, sent in order; more than [`CHUNKS_A_SEND_MAX`] take several sends.
    ///
    /// None is a part of a file.
    pub fn many(chunks: Vec<Chunk>) -> Self {
        debug_assert!(!chunks.iter().any(|chunk| matches!(chunk, Chunk::File(_))));
        let remaining = chunks.iter().map(Chunk::len).sum();
        let mut outgoing = Self {
            body: Body::Many { chunks, first: 0 },
            offset: 0,
            remaining,
        };
        outgoing.skip_whole();
        outgoing
    }

    /// A part of a file.
    pub fn file(part: FilePart) -> Self {
        Self {
            remaining: part.len(),
            body: Body::File(part),
            offset: 0,
        }
    }

    /// The part of a file that it is, and how much of it has gone.
    #[inline]
    pub fn as_file(&self) -> Option<(&FilePart, usize)> {
        match &self.body {
            Body::File(part) => Some((part, self.offset)),
            _ => None,
        }
    }

    /// Bytes that have not gone yet.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Whether all has gone.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.remaining == 0
    }

    /// Record that `count` more bytes were sent. Panics if that is more than remained.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        assert!(
            count <= self.remaining,
            "advanced by {count} of {} bytes",
            self.remaining
        );
        self.remaining -= count;
        self.offset += count;
        self.skip_whole();
    }

    /// Keep `offset` within the first chunk that has bytes left.
    #[inline]
    fn skip_whole(&mut self) {
        if let Body::Many { chunks, first } = &mut self.body {
            while *first < chunks.len() && self.offset >= chunks[*first].len() {
                self.offset -= chunks[*first].len();
                *first += 1;
            }
        }
    }

    /// Whether the bytes left lie in one piece.
    pub fn is_single(&self) -> bool {
        match &self.body {
            Body::One(_) | Body::File(_) => true,
            Body::Many { chunks, first } => *first + 1 >= chunks.len(),
        }
    }

    /// The first piece of the rest; empty when all has gone, and of a file.
    pub fn first(&self) -> &[u8] {
        match &self.body {
            Body::One(bytes) => &bytes[self.offset..],
            Body::Many { chunks, first } => match chunks.get(*first) {
                Some(chunk) => &chunk.as_slice()[self.offset..],
                None => &[],
            },
            Body::File(_) => &[],
        }
    }

    /// The pieces left, in order, at most [`CHUNKS_A_SEND_MAX`].
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let rest = match &self.body {
            Body::One(_) | Body::File(_) => &[],
            Body::Many { chunks, first } => chunks.get(*first + 1..).unwrap_or(&[]),
        };
        let rest = rest
            .iter()
            .map(Chunk::as_slice)
            .filter(|piece| !piece.is_empty());
        std::iter::once(self.first())
            .chain(rest)
            .take(CHUNKS_A_SEND_MAX)
    }

    /// Whether it was made by [`Outgoing::one`].
    #[inline]
    pub fn is_one(&self) -> bool {
        matches!(self.body, Body::One(_))
    }

    /// The buffer, when it was made by [`Outgoing::one`].
    pub fn into_single(self) -> Option<Vec<u8>> {
        match self.body {
            Body::One(bytes) => Some(bytes),
            Body::Many { .. } | Body::File(_) => None,
        }
    }

    /// All chunks, gone or not, so that their buffers can be used again.
    pub fn into_chunks(self) -> Vec<Chunk> {
        match self.body {
            Body::One(bytes) => vec![Chunk::Owned(bytes)],
            Body::Many { chunks, .. } => chunks,
            Body::File(part) => vec![Chunk::File(part)],
        }
    }
}

/// Page-aligned memory of our own, zero at first and given by the kernel page by page as it is
/// touched.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    pub(crate) fn new(length: usize) -> io::Result<Self> {
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches nothing
        // else.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this range and nobody else unmaps it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// Receive buffers of one size, shared by all connections of a port.
///
/// The buffer given back last is taken first: its lines are still in the cache.
pub(crate) struct Pool {
    memory: Mapping,
    buffer_bytes: u32,
    count: u16,
    free: RefCell<Vec<u16>>,
}

impl Pool {
    /// `count` buffers of `buffer_bytes` bytes. Untouched buffers take no memory.
    pub(crate) fn new(count: u16, buffer_bytes: u32) -> io::Result<Rc<Self>> {
        if count == 0 || buffer_bytes == 0 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok(Rc::new(Self {
            memory: Mapping::new(usize::from(count) * buffer_bytes as usize)?,
            buffer_bytes,
            count,
            free: RefCell::new((0..count).rev().collect()),
        }))
    }

    pub(crate) fn buffer_bytes(&self) -> u32 {
        self.buffer_bytes
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// A free buffer's index; the caller makes a lease of it, or calls [`Pool::give_back`].
    pub(crate) fn take(&self) -> Option<u16> {
        self.free.borrow_mut().pop()
    }

    #[inline]
    pub(crate) fn give_back(&self, index: u16) {
        self.free.borrow_mut().push(index);
    }

    /// How many buffers are free.
    pub(crate) fn free(&self) -> usize {
        self.free.borrow().len()
    }

    /// Where a buffer begins.
    pub(crate) fn buffer(&self, index: u16) -> NonNull<u8> {
        assert!(
            index < self.count,
            "no buffer {index} in a pool of {}",
            self.count
        );
        // SAFETY: the index is below the count, so the offset is within the mapping.
        unsafe {
            self.memory
                .start()
                .add(usize::from(index) * self.buffer_bytes as usize)
        }
    }

    /// Lend out a buffer that was taken and filled with `length` bytes.
    pub(crate) fn lease(self: &Rc<Self>, index: u16, length: usize) -> Lease {
        assert!(
            length <= self.buffer_bytes as usize,
            "a lease beyond its buffer"
        );
        let start = self.buffer(index);
        Lease {
            pool: Rc::clone(self),
            start,
            length: length as u32,
            index,
        }
    }

    /// Lend out a buffer filled with the beginning of `bytes`, as much as fits; `None` when all are
    /// lent.
    pub(crate) fn fill(self: &Rc<Self>, bytes: &[u8]) -> Option<Lease> {
        let index = self.take()?;
        let mut lease = self.lease(index, bytes.len().min(self.buffer_bytes as usize));
        let length = lease.len();
        lease.copy_from_slice(&bytes[..length]);
        Some(lease)
    }
}

/// Received bytes, in a buffer lent by the port. Dropping it gives the buffer back.
///
/// The bytes may be changed in place (unmasking, decryption). A lease may outlive the port.
pub struct Lease {
    pool: Rc<Pool>,
    start: NonNull<u8>,
    length: u32,
    index: u16,
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the buffer is ours alone until it is given back, the pool's memory lives as long
        // as the pool, and `length` bytes at `start` lie within the buffer (asserted when the lease
        // was made).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length as usize) }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`; the exclusive borrow of the lease is one of the buffer.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length as usize) }
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        self.pool.give_back(self.index);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Lease({} bytes)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(outgoing: &Outgoing) -> Vec<u8> {
        outgoing.pieces().flatten().copied().collect()
    }

    #[test]
    fn a_short_send_of_many_chunks_continues_where_it_stopped() {
        let chunks = vec![
            Chunk::Owned(vec![]),
            Chunk::Owned(b"ab".to_vec()),
            Chunk::Shared(Rc::new(b"cde".to_vec())),
            Chunk::Owned(vec![]),
            Chunk::Owned(b"f".to_vec()),
        ];
        for step in 1..=6 {
            let mut outgoing = Outgoing::many(chunks.clone());
            let mut sent = Vec::new();
            while !outgoing.is_done() {
                let now = step.min(outgoing.remaining());
                sent.extend_from_slice(&rest(&outgoing)[..now]);
                outgoing.advance(now);
                assert_eq!(rest(&outgoing).len(), outgoing.remaining());
            }
            assert_eq!(sent, b"abcdef");
            assert_eq!(outgoing.into_chunks().len(), 5);
        }
    }

    #[test]
    fn one_buffer_comes_back_as_itself() {
        let bytes = b"hello".to_vec();
        let address = bytes.as_ptr();
        let mut outgoing = Outgoing::one(bytes);
        assert!(outgoing.is_single());
        outgoing.advance(2);
        assert_eq!(outgoing.first(), b"llo");
        let back = outgoing.into_single().expect("one buffer");
        assert_eq!(back.as_ptr(), address);
    }

    #[test]
    #[should_panic(expected = "advanced by 3 of 2 bytes")]
    fn advancing_beyond_the_end_is_a_broken_invariant() {
        Outgoing::one(vec![1, 2]).advance(3);
    }

    #[test]
    fn no_more_pieces_are_given_than_the_kernel_takes() {
        let chunks = (0..100).map(|byte| Chunk::Owned(vec![byte])).collect();
        let outgoing = Outgoing::many(chunks);
        assert_eq!(outgoing.pieces().count(), CHUNKS_A_SEND_MAX);
        assert_eq!(outgoing.remaining(), 100);
    }

    #[test]
    fn a_dropped_lease_gives_its_buffer_back_even_after_the_pools_owner_is_gone() {
        let pool = Pool::new(2, 16).expect("memory");
        let first = pool.fill(b"first").expect("a buffer");
        let second = pool.fill(&[7; 40]).expect("a buffer");
        assert_eq!((&first[..], second.len()), (&b"first"[..], 16));
        assert!(pool.fill(b"none left").is_none());
        drop(second);
        assert_eq!(pool.free(), 1);
        drop(pool);
        assert_eq!(&first[..], b"first");
    }
}
