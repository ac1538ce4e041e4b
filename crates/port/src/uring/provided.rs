//! The ring of provided buffers: empty buffers that the kernel takes one by one as bytes arrive
//! (`io_uring_register_buf_ring(3)`).
//!
//! A buffer has one of three places: in the ring (the kernel's), lent out in a lease or named by a
//! completion not yet taken (the caller's), or free in the pool. [`Provided::publish`] moves free
//! ones into the ring, all with one store of the tail.
//!
//! The ring is first in, first out: with every free buffer in it, each would be used in its turn,
//! and all would be cold when they are. So only a **window** of buffers is kept in the ring, and
//! the pool next to it gives the one that came back last. The window grows when a turn uses most of
//! it and shrinks when many turns did not use a quarter. Echoing 64 KiB over ten connections took
//! half as much processor time with 32 buffers in the ring as with 512, and a tenth less again with
//! 8 (benches/choices).

use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::ring::Ring;
use crate::buffers::{Lease, Mapping, Pool};

/// The ring of provided buffers, and the pool they come from.
pub(super) struct Provided {
    pool: Rc<Pool>,
    entries: Mapping,
    mask: u16,
    tail: u16,
    /// Buffers in the ring, those named by completions not yet taken included.
    inside: u16,
    /// How many the ring should hold after [`Provided::publish`].
    window: u16,
    /// The most that one turn used, and the turns, since the window was last reconsidered.
    most_used: u16,
    turns: u16,
}

/// The only group of buffers.
pub(super) const GROUP: u16 = 0;

const WINDOW_LEAST: u16 = 8;
/// Turns after which a window that is hardly used is halved.
const TURNS_TO_SHRINK: u16 = 1024;

impl Provided {
    /// Register `pool` with the ring. `ENOMEM` when the locked memory is at its limit.
    ///
    /// The memory must outlive the registration: the owner drops this after the ring's last
    /// operation.
    pub(super) fn new(ring: &Ring, pool: Rc<Pool>) -> io::Result<Self> {
        let size = pool
            .count()
            .checked_next_power_of_two()
            .filter(|size| *size <= 1 << 15);
        let size = size.ok_or(io::ErrorKind::InvalidInput)?;
        let entries = Mapping::new(usize::from(size) * size_of::<BufRingEntry>())?;
        let address = entries.start().as_ptr() as u64;
        // SAFETY: the mapping holds `size` entries, is page-aligned, and lives as long as the
        // driver, which waits for the last operation before it goes.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(address, size, GROUP, 0)
        }?;
        let mut provided = Self {
            pool,
            entries,
            mask: size - 1,
            tail: 0,
            inside: 0,
            window: WINDOW_LEAST,
            most_used: 0,
            turns: 0,
        };
        provided.publish();
        Ok(provided)
    }

    /// A turn ends and another begins: fill the ring up to the window.
    pub(super) fn publish(&mut self) {
        self.reconsider();
        let before = self.tail;
        let entries: *mut BufRingEntry = self.entries.start().as_ptr().cast();
        while self.inside < self.window
            && let Some(index) = self.pool.take()
        {
            let position = usize::from(self.tail & self.mask);
            // SAFETY: the position is within the mapping, and the ring holds no more than the
            // pool's buffers, so the kernel has done with the entry that lay there. The setters
            // touch neither the tail, which shares the first entry's memory, nor anything beyond
            // the entry.
            let entry = unsafe { &mut *entries.add(position) };
            entry.set_addr(self.pool.buffer(index).as_ptr() as u64);
            entry.set_len(self.pool.buffer_bytes());
            entry.set_bid(index);
            self.tail = self.tail.wrapping_add(1);
            self.inside += 1;
        }
        if self.tail != before {
            // SAFETY: `tail` gives the address of the ring's tail, which is aligned for, and only
            // ever accessed as, a 16-bit atomic by us and the kernel.
            let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries).cast_mut()) };
            tail.store(self.tail, Ordering::Release);
        }
    }

    fn reconsider(&mut self) {
        let used = self.window.saturating_sub(self.inside);
        self.most_used = self.most_used.max(used);
        self.turns += 1;
        if used > self.window / 4 * 3 {
            self.window = (self.window * 2).min(self.pool.count().max(WINDOW_LEAST));
            (self.most_used, self.turns) = (0, 0);
        } else if self.turns == TURNS_TO_SHRINK {
            if self.most_used < self.window / 4 {
                self.window = (self.window / 2).max(WINDOW_LEAST);
            }
            (self.most_used, self.turns) = (0, 0);
        }
    }

    /// Leave the memory to the kernel permanently: it may still write there.
    pub(super) fn leak(&mut self) {
        std::mem::forget(Rc::clone(&self.pool));
    }

    /// The kernel has filled buffer `index` with `length` bytes.
    pub(super) fn lease(&mut self, index: u16, length: usize) -> Lease {
        self.inside -= 1;
        self.pool.lease(index, length)
    }
}
