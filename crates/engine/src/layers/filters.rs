//! The host's filters: they may change, drop or add bytes in both directions.
//!
//! What leaves is filtered when it departs, gathered into one piece, so that a filter sees each
//! batch once. A filter that fails resets its connection, because the rest of the stream cannot be
//! interpreted any more.
//!
//! A filter may take its time. Then received bytes stay where they are, before the filter, until it
//! has finished with them: what comes behind them waits there too, and when that is too much the
//! peer is held back. In the other direction the filter has one batch, and is not ready for more:
//! what is sent meanwhile waits in the write queue.

use super::{Flow, Layer, Progress, Received};
use crate::close::{Cause, CloseReason};
use crate::memory;
use std::rc::{Rc, Weak};

/// What a filter makes of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filtered {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The host tells the connection later: see [`Connection::filtered_received`] and
    /// [`Connection::filtered_sent`].
    ///
    /// [`Connection::filtered_received`]: crate::Connection::filtered_received
    /// [`Connection::filtered_sent`]: crate::Connection::filtered_sent
    Later,
    /// It failed: the connection is reset.
    Failed,
}

impl From<Option<Vec<u8>>> for Filtered {
    fn from(bytes: Option<Vec<u8>>) -> Self {
        bytes.map_or(Self::Failed, Self::Bytes)
    }
}

/// Who filters: a connection, for its host.
pub(crate) trait Filter {
    /// What the session gets instead of `bytes`.
    fn received(self: Rc<Self>, bytes: &[u8]) -> Filtered;
    /// What the peer gets instead of `bytes`.
    fn sent(self: Rc<Self>, bytes: &[u8]) -> Filtered;
}

/// The layer of a filtered endpoint.
pub(crate) struct Filters {
    filter: Weak<dyn Filter>,
    /// How many received bytes the filter works on.
    receiving: Option<usize>,
    /// What it has made of them.
    received: Option<Vec<u8>>,
    is_sending: bool,
}

pub(crate) fn failed() -> CloseReason {
    CloseReason::new(Cause::FilterFailed, "a filter failed")
}

fn put(filtered: Vec<u8>, out: &mut Vec<u8>) -> Result<(), CloseReason> {
    if out.is_empty() {
        *out = filtered;
        return Ok(());
    }
    memory::extend(out, &filtered)
}

impl Filters {
    pub(crate) fn new(filter: Weak<dyn Filter>) -> Self {
        Self {
            filter,
            receiving: None,
            received: None,
            is_sending: false,
        }
    }

    fn filter(
        &self,
        bytes: &[u8],
        act: impl FnOnce(Rc<dyn Filter>, &[u8]) -> Filtered,
    ) -> Filtered {
        let owner = self.filter.upgrade();
        owner.map_or(Filtered::Failed, |owner| act(owner, bytes))
    }
}

impl Layer for Filters {
    fn receive(&mut self, input: &mut [u8], flow: &mut Flow<'_>) -> Result<Received, CloseReason> {
        let mut used = 0;
        if let Some(received) = self.received.take() {
            used = self.receiving.take().unwrap_or(0);
            put(received, flow.plain)?;
        } else if self.receiving.is_none() && !input.is_empty() {
            match self.filter(input, Filter::received) {
                Filtered::Bytes(filtered) => {
                    used = input.len();
                    put(filtered, flow.plain)?;
                }
                Filtered::Later => self.receiving = Some(input.len()),
                Filtered::Failed => return Err(failed()),
            }
        }
        let is_done = self.receiving.is_some() || used >= input.len();
        Ok(Received {
            used,
            progress: if is_done {
                Progress::MoreNeeded
            } else {
                Progress::Again
            },
            work: 0,
        })
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CloseReason> {
        match self.filter(plain, Filter::sent) {
            Filtered::Bytes(filtered) => put(filtered, wire),
            Filtered::Later => {
                self.is_sending = true;
                Ok(())
            }
            Filtered::Failed => Err(failed()),
        }
    }

    fn is_ready(&self) -> bool {
        !self.is_sending
    }

    fn is_receiving(&self) -> bool {
        self.receiving.is_some()
    }

    fn is_sending(&self) -> bool {
        self.is_sending
    }

    fn resume_received(&mut self, bytes: &mut Vec<u8>) -> bool {
        if self.receiving.is_none() || self.received.is_some() {
            return false;
        }
        self.received = Some(std::mem::take(bytes));
        true
    }

    fn resume_sent(&mut self) -> bool {
        std::mem::take(&mut self.is_sending)
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>()
    }
}
