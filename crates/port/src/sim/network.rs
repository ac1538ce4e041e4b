//! The simulated network: connections as pairs of pipes, each with a window.

use std::collections::VecDeque;

use crate::{Address, Delivery, Descriptor};

/// One end of a connection: side 0 connected, side 1 was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct End {
    pub(super) link: usize,
    pub(super) side: usize,
}

impl End {
    pub(super) fn other(self) -> Self {
        Self {
            link: self.link,
            side: 1 - self.side,
        }
    }
}

/// Who holds an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A socket of the port.
    Socket(Descriptor),
    /// The test.
    Peer,
    /// A listening socket's queue; the end is connected and not yet accepted.
    Queue,
    /// Nobody: it was closed.
    Nobody,
}

/// What an end has and gets.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) owner: Owner,
    pub(super) address: Address,
    /// Bytes that came for this end and were not read.
    pub(super) unread: VecDeque<u8>,
    /// How many ever came.
    pub(super) arrived: u64,
    /// How many of them a stalled peer had read into its own memory before it stalled.
    pub(super) read_before_stall: usize,
    /// No more will come: the other end sent FIN.
    pub(super) finished: bool,
    /// RST came.
    pub(super) reset: bool,
    /// The test stopped reading.
    pub(super) stalled: bool,
    /// Chance stopped the peer's reading until this time.
    pub(super) stalled_until: u64,
    /// Since when the peer's kernel answers nothing any more.
    pub(super) gone_since: Option<u64>,
}

/// In the simulation's own unit, nanoseconds.
const MILLISECOND: u64 = 1_000_000;

impl Side {
    fn new(owner: Owner, address: Address) -> Self {
        Self {
            owner,
            address,
            unread: VecDeque::new(),
            arrived: 0,
            read_before_stall: 0,
            finished: false,
            reset: false,
            stalled: false,
            stalled_until: 0,
            gone_since: None,
        }
    }

    pub(super) fn is_stalled(&self, now: u64) -> bool {
        self.stalled || self.gone_since.is_some() || now < self.stalled_until
    }
}

/// All connections there ever were.
#[derive(Default)]
pub(super) struct Network {
    links: Vec<[Side; 2]>,
}

impl Network {
    pub(super) fn connect(&mut self, from: (Owner, Address), to: (Owner, Address)) -> End {
        self.links
            .push([Side::new(from.0, from.1), Side::new(to.0, to.1)]);
        End {
            link: self.links.len() - 1,
            side: 0,
        }
    }

    pub(super) fn side(&mut self, end: End) -> &mut Side {
        &mut self.links[end.link][end.side]
    }

    pub(super) fn peek(&self, end: End) -> &Side {
        &self.links[end.link][end.side]
    }

    /// How many bytes may be sent to `end` now. A peer that reads takes them all.
    pub(super) fn room(&self, end: End, now: u64, window: usize) -> usize {
        let side = self.peek(end);
        match side.owner {
            Owner::Nobody => usize::MAX,
            Owner::Peer if !side.is_stalled(now) => usize::MAX,
            _ => window.saturating_sub(side.unread.len() - side.read_before_stall),
        }
    }

    /// How far the bytes sent to `end` have come. A peer that has stalled acknowledges none.
    pub(super) fn delivery(&self, end: End, now: u64) -> Delivery {
        let side = self.peek(end);
        let outstanding = match side.owner {
            Owner::Peer if side.is_stalled(now) => side.unread.len() - side.read_before_stall,
            _ => 0,
        };
        let unanswered = side.gone_since.map_or(0, |since| now - since);
        Delivery {
            acknowledged: Some(side.arrived - outstanding as u64),
            outstanding,
            unanswered_milliseconds: if outstanding > 0 {
                u32::try_from(unanswered / MILLISECOND).unwrap_or(u32::MAX)
            } else {
                0
            },
        }
    }

    /// Bytes arrive at `end`. An end that nobody holds answers with RST.
    pub(super) fn deliver(&mut self, end: End, bytes: &[u8]) {
        let side = self.side(end);
        if side.owner == Owner::Nobody {
            self.side(end.other()).reset = true;
        } else {
            side.unread.extend(bytes);
            side.arrived += bytes.len() as u64;
        }
    }

    /// Both ends lose the connection.
    pub(super) fn cut(&mut self, end: End) {
        self.side(end).reset = true;
        self.side(end.other()).reset = true;
    }

    /// The holder of `end` closes it: FIN, or RST when asked for or when bytes were not read (RFC
    /// 2525, section 2.17). What a stalled peer has not taken is lost with RST.
    pub(super) fn close(&mut self, end: End, reset: bool, now: u64) {
        let side = self.side(end);
        let reset = reset || !side.unread.is_empty();
        side.owner = Owner::Nobody;
        side.unread.clear();
        side.read_before_stall = 0;
        let other = self.side(end.other());
        if reset {
            other.reset = true;
            if other.owner == Owner::Peer && other.is_stalled(now) {
                other.unread.truncate(other.read_before_stall);
            }
        } else {
            other.finished = true;
        }
    }
}
