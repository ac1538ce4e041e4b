//! The host's filters: they may change, drop or add bytes in both directions.
//!
//! What leaves is filtered when it departs, gathered into one piece, so that a filter sees each
//! batch once. A filter that fails resets its connection, because the rest of the stream cannot be
//! interpreted any more.

use super::{Flow, Layer, Progress, Received};
use crate::close::{Cause, CloseReason};
use crate::memory;
use std::rc::{Rc, Weak};

/// Who filters: a connection, for its host.
pub(crate) trait Filter {
    /// What the session gets instead of `bytes`; `None` where the filter failed.
    fn received(self: Rc<Self>, bytes: &[u8]) -> Option<Vec<u8>>;
    /// What the peer gets instead of `bytes`; `None` where the filter failed.
    fn sent(self: Rc<Self>, bytes: &[u8]) -> Option<Vec<u8>>;
}

/// The layer of a filtered endpoint.
pub(crate) struct Filters {
    filter: Weak<dyn Filter>,
}

impl Filters {
    pub(crate) fn new(filter: Weak<dyn Filter>) -> Self {
        Self { filter }
    }

    fn apply(
        &self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        filter: impl FnOnce(Rc<dyn Filter>, &[u8]) -> Option<Vec<u8>>,
    ) -> Result<(), CloseReason> {
        let owner = self.filter.upgrade();
        let Some(filtered) = owner.and_then(|owner| filter(owner, bytes)) else {
            return Err(CloseReason::new(Cause::FilterFailed, "a filter failed"));
        };
        if out.is_empty() {
            *out = filtered;
            return Ok(());
        }
        memory::extend(out, &filtered)
    }
}

impl Layer for Filters {
    fn receive(&mut self, input: &mut [u8], flow: &mut Flow<'_>) -> Result<Received, CloseReason> {
        if !input.is_empty() {
            self.apply(input, flow.plain, Filter::received)?;
        }
        Ok(Received {
            used: input.len(),
            progress: Progress::MoreNeeded,
            work: 0,
        })
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CloseReason> {
        self.apply(plain, wire, Filter::sent)
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>()
    }
}
