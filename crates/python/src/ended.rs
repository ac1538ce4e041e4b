//! What is known of a connection that has ended, for any thread to read.

use crate::addresses::address_text;
use crate::endpoint::Lasting;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use vespiary_engine::port::Address;
use vespiary_engine::{CloseReason, CompressionTraffic};
use vespiary_tls::Facts;

/// What is known of a connection that has ended.
pub(crate) struct Ended {
    pub(crate) url: Arc<str>,
    pub(crate) lasting: Arc<Lasting>,
    pub(crate) reason: CloseReason,
    pub(crate) traffic: [u64; 4],
    pub(crate) dropped: u64,
    pub(crate) compression: (CompressionTraffic, u64),
    pub(crate) peer: Option<Address>,
    pub(crate) local_address: Option<Address>,
    pub(crate) tls: Option<Box<Facts>>,
}

impl Ended {
    pub(crate) fn peer_text(&self) -> String {
        address_text(self.peer.as_ref())
    }
}

/// The place for it in a connection's object: one word, as there are many of them.
#[derive(Default)]
pub(crate) struct EndedCell(AtomicPtr<Ended>);

/// Means: not ended, but another thread has closed or aborted it, and sends nothing more.
const CLOSED_ELSEWHERE: *mut Ended = ptr::without_provenance_mut(1);

impl EndedCell {
    pub(crate) fn get(&self) -> Option<&Ended> {
        let ended = self.0.load(Ordering::Acquire);
        if ended.is_null() || ended == CLOSED_ELSEWHERE {
            return None;
        }
        // SAFETY: set once, from a box, which lives until this cell is dropped.
        Some(unsafe { &*ended })
    }

    /// The connection has ended. On the loop's thread, once.
    pub(crate) fn set(&self, ended: Box<Ended>) {
        if self.get().is_none() {
            self.0.store(Box::into_raw(ended), Ordering::Release);
        }
    }

    pub(crate) fn close_elsewhere(&self) {
        let _ = self.0.compare_exchange(
            ptr::null_mut(),
            CLOSED_ELSEWHERE,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    pub(crate) fn is_closed_elsewhere(&self) -> bool {
        self.0.load(Ordering::Acquire) == CLOSED_ELSEWHERE
    }
}

impl Drop for EndedCell {
    fn drop(&mut self) {
        let ended = *self.0.get_mut();
        if !ended.is_null() && ended != CLOSED_ELSEWHERE {
            // SAFETY: from a box, and nobody has a reference any more.
            drop(unsafe { Box::from_raw(ended) });
        }
    }
}
