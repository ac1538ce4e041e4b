use std::collections::HashMap;

use crate::Reply;

/// The open streams, each with how much content it still expects, if that is known.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) expected: HashMap<u32, Option<usize>>,
    own: u32,
    promised: u32,
}

impl Streams {
    pub(crate) fn open(&mut self) -> u32 {
        let stream = self.own * 2 + 1;
        self.own += 1;
        self.expected.insert(stream, None);
        stream
    }

    pub(crate) fn reserve(&mut self, stream: u32, limit: usize) -> Reply {
        if stream % 2 == 1 {
            return Reply::Gone;
        }
        if stream <= self.promised {
            return Reply::Gone;
        }
        self.promised = stream;
        if self.expected.len() >= limit {
            return Reply::Reset(stream);
        }
        self.expected.insert(stream, None);
        Reply::Accepted
    }
}
