//! Finds sockets that were reset after they received bytes, which a multishot receive does not
//! report.
//!
//! If bytes and then a reset arrive before the kernel receives, it receives the bytes, sees that
//! the queue is now empty, and sleeps until the next wake-up. But the wake-up of the reset was the
//! one that it has just handled, and there is no other. (It does not make this mistake with a FIN.)
//! On Linux 6.18 this happened to one in ten connections whose peers send and reset at once.
//!
//! So the driver checks the sockets with `poll(2)` and an empty set of events, which reports only
//! errors and hang-ups. It checks some of the sockets at a time, and only after something has been
//! received, so an idle driver sleeps. If it finds a reset, it cancels the receive. The owner gets
//! `ENOBUFS`, as if no buffer was free, receives again, and then gets the reset.

use std::time::Duration;

use crate::{Descriptor, Token};

/// From bytes to the first look, and from a sweep's end to the next while bytes arrive.
const PAUSE: u64 = 250_000_000;
/// From one slice to the next.
const SLICE_PAUSE: u64 = 10_000_000;
/// Sockets a slice: some 30 microseconds of looking.
const SLICE: usize = 256;

const NOBODY: u64 = u64::MAX;

/// Which socket is whose, and how far the present sweep has come.
#[derive(Default)]
pub(super) struct Sweep {
    /// The token of the receive on each descriptor, or [`NOBODY`].
    tokens: Vec<u64>,
    /// The first descriptor of the next slice.
    next: usize,
    /// When the next slice is due; never, while nothing has been received.
    due: Option<u64>,
    /// Bytes have arrived since the present sweep began: it is not the last.
    is_wanted: bool,
    /// What the kernel is asked about one slice; kept, so that looking allocates nothing.
    polls: Vec<libc::pollfd>,
}

impl Sweep {
    /// A multishot receive begins.
    pub(super) fn watch(&mut self, socket: Descriptor, token: Token) {
        let index = index(socket);
        if index >= self.tokens.len() {
            self.tokens.resize(index + 1, NOBODY);
            self.polls.reserve_exact(SLICE);
        }
        self.tokens[index] = token.0;
    }

    /// A socket is closed.
    pub(super) fn forget(&mut self, socket: Descriptor) {
        if let Some(token) = self.tokens.get_mut(index(socket)) {
            *token = NOBODY;
        }
    }

    /// Bytes have arrived, and perhaps a reset behind them.
    #[inline]
    pub(super) fn received(&mut self, now: u64) {
        self.is_wanted = true;
        if self.due.is_none() {
            self.due = Some(now + PAUSE);
        }
    }

    /// Whether nothing is to be looked at.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.due.is_none()
    }

    /// How long a turn may wait.
    pub(super) fn shorten(&self, timeout: Option<Duration>, now: u64) -> Option<Duration> {
        let Some(due) = self.due else { return timeout };
        let pause = Duration::from_nanos(due.saturating_sub(now));
        Some(timeout.map_or(pause, |timeout| timeout.min(pause)))
    }

    /// Whether the next slice is due.
    #[inline]
    pub(super) fn is_due(&self, now: u64) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Look at the next slice. Says whose sockets are broken, and forgets those.
    pub(super) fn look(&mut self, now: u64) -> Vec<Token> {
        if self.next == 0 {
            self.is_wanted = false;
        }
        let end = self.tokens.len().min(self.next + SLICE);
        let broken = self.broken(self.next..end);
        self.next = end;
        let is_over = end == self.tokens.len();
        if is_over {
            self.next = 0;
        }
        self.due = match (is_over, self.is_wanted) {
            (false, _) => Some(now + SLICE_PAUSE),
            (true, true) => Some(now + PAUSE),
            (true, false) => None,
        };
        broken
    }

    fn broken(&mut self, slice: std::ops::Range<usize>) -> Vec<Token> {
        let Self { tokens, polls, .. } = self;
        let watched = slice.filter(|index| tokens[*index] != NOBODY);
        polls.clear();
        polls.extend(watched.map(|index| libc::pollfd {
            fd: index as Descriptor,
            events: 0,
            revents: 0,
        }));
        // SAFETY: the pointer is to so many structures, and the call does not wait.
        let found = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, 0) };
        if found <= 0 {
            return Vec::new();
        }
        polls
            .iter()
            .filter(|poll| poll.revents != 0)
            .map(|poll| Token(std::mem::replace(&mut tokens[index(poll.fd)], NOBODY)))
            .collect()
    }
}

fn index(socket: Descriptor) -> usize {
    usize::try_from(socket).expect("a descriptor is not negative")
}
