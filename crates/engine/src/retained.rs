//! Retained messages: the last one of each topic, for those who subscribe later.

use crate::memory;
use crate::patterns;
use crate::send_error::SendError;
use crate::subscriptions::Naming;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;
use vespiary_wire::websocket::frame::Kind;

/// A message as it was published.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Text or binary.
    pub kind: Kind,
    /// Its bytes.
    pub payload: Rc<Vec<u8>>,
    /// Whether it is compressed, as for [`crate::Connection::send`].
    pub compress: Option<bool>,
}

/// How much a space retains. `None` means no bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct RetainLimits {
    /// Topics with a retained message.
    pub messages_max: Option<usize>,
    /// Bytes of all retained messages and the names of their topics.
    pub bytes_max: Option<usize>,
}

/// The retained messages of a space, by topic.
#[derive(Default)]
pub(crate) struct Retained {
    messages: BTreeMap<Box<str>, Kept>,
    bytes: usize,
    refused: u64,
    pub(crate) limits: RetainLimits,
}

impl Retained {
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages that a limit has kept out.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    fn size(topic: &str, payload: &[u8]) -> usize {
        topic.len() + payload.len()
    }

    /// Keep a message instead of the topic's earlier one.
    pub(crate) fn put(
        &mut self,
        topic: &str,
        kind: Kind,
        payload: &[u8],
        compress: Option<bool>,
    ) -> Result<(), SendError> {
        let before = self.messages.get(topic);
        let count = self.messages.len() + usize::from(before.is_none());
        let freed = before.map_or(0, |kept| Self::size(topic, &kept.payload));
        let bytes = (self.bytes - freed).saturating_add(Self::size(topic, payload));
        let RetainLimits {
            messages_max,
            bytes_max,
        } = self.limits;
        if messages_max.is_some_and(|most| count > most) {
            self.refused += 1;
            return Err(SendError::TooManyRetained);
        }
        if bytes_max.is_some_and(|most| bytes > most) {
            self.refused += 1;
            return Err(SendError::RetainedTooLarge);
        }
        let mut copy = Vec::new();
        memory::extend(&mut copy, payload).map_err(|_| SendError::OutOfMemory)?;
        let kept = Kept {
            kind,
            payload: Rc::new(copy),
            compress,
        };
        self.messages.insert(topic.into(), kept);
        self.bytes = bytes;
        Ok(())
    }

    pub(crate) fn get(&self, topic: &str) -> Option<Kept> {
        self.messages.get(topic).cloned()
    }

    /// Keep no message of a topic any more; whether there was one.
    pub(crate) fn discard(&mut self, topic: &str) -> bool {
        let Some(kept) = self.messages.remove(topic) else {
            return false;
        };
        self.bytes -= Self::size(topic, &kept.payload);
        true
    }

    /// What a new subscription gets, in the order of the topics. A pattern looks at each topic that
    /// begins as it does.
    pub(crate) fn matching(&self, naming: Naming, name: &str) -> Vec<Kept> {
        if naming == Naming::Exact || self.messages.is_empty() {
            return self.get(name).into_iter().collect();
        }
        let prefix = patterns::prefix(name);
        self.messages
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(topic, _)| topic.starts_with(prefix))
            .filter(|(topic, _)| patterns::matches(name, topic))
            .map(|(_, kept)| kept.clone())
            .collect()
    }
}
