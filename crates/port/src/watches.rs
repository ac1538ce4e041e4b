//! Foreign descriptors under watch, by an epoll instance of their own.
//!
//! io_uring can poll a descriptor too, but not with the semantics that programs which use select(2)
//! and epoll(7) rely on:
//!
//! * Its poll keeps the file open. So a socket that is closed while it is watched keeps its
//!   address, and never sends its FIN.
//! * It always reports that the peer has shut down its sending side. So a watch for writing alone
//!   completes at once, again and again.
//! * It reports descriptors that can never be polled as ready.
//!
//! An epoll instance has none of these faults, belongs to no thread, and can itself be polled by a
//! ring.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::Duration;

use crate::epoll_instance::Instance;
use crate::{Completion, Descriptor, Interest, Outcome, Token};

/// Events gathered by one look.
const EVENTS_MAX: usize = 256;
/// Looks in a row that found an event for a descriptor that nobody watches, after which the
/// instance is made again: such a descriptor was closed while a copy of it lived elsewhere, and
/// cannot be removed (epoll(7), question 6).
const STALE_LOOKS_MAX: u32 = 8;
/// What epoll carries for the waker's descriptor; no other descriptor has it.
const WAKER: u64 = u64::MAX;

struct Watch {
    token: Token,
    mask: u8,
    /// Counts the watches, so that an event for an earlier one on the same number is recognised.
    count: u32,
}

/// All watches.
pub(crate) struct Watches {
    instance: Instance,
    watched: HashMap<Descriptor, Watch>,
    waker: Option<Descriptor>,
    count: u32,
    events: Vec<libc::epoll_event>,
    found: VecDeque<(u64, u32)>,
    stale_looks: u32,
}

fn carried(descriptor: Descriptor, count: u32) -> u64 {
    u64::from(descriptor as u32) | u64::from(count) << 32
}

impl Watches {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            instance: Instance::new()?,
            watched: HashMap::new(),
            waker: None,
            count: 0,
            events: Vec::new(),
            found: VecDeque::new(),
            stale_looks: 0,
        })
    }

    /// What a ring polls: readable while a watched descriptor is ready.
    pub(crate) fn descriptor(&self) -> Descriptor {
        self.instance.descriptor()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Let [`Watches::look`] end when the waker's descriptor is written to; or no longer.
    pub(crate) fn set_waker(&mut self, waker: Option<Descriptor>) -> io::Result<()> {
        if let Some(old) = self.waker.take() {
            // The waker's descriptor is open, so removing it cannot fail.
            let _ = self.instance.control(libc::EPOLL_CTL_DEL, old, 0, 0);
        }
        if let Some(waker) = waker {
            self.instance.watch_waker(waker, WAKER)?;
        }
        self.waker = waker;
        Ok(())
    }

    /// See [`crate::Port::poll`].
    pub(crate) fn set(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        let mask = mask_of(interest);
        if mask == 0 {
            self.remove(descriptor, token);
            return Ok(());
        }
        self.count = self.count.wrapping_add(1) & (u32::MAX >> 1);
        let data = carried(descriptor, self.count);
        let is_known = self.watched.contains_key(&descriptor);
        if let Err(error) = self.instance.watch(descriptor, mask, data, is_known) {
            self.watched.remove(&descriptor);
            return Err(error);
        }
        let count = self.count;
        self.watched
            .insert(descriptor, Watch { token, mask, count });
        Ok(())
    }

    /// See [`crate::Port::unpoll`].
    pub(crate) fn remove(&mut self, descriptor: Descriptor, token: Token) {
        let is_its = |watch: &Watch| watch.token == token;
        if self.watched.get(&descriptor).is_some_and(is_its) {
            self.watched.remove(&descriptor);
            // It fails when the descriptor was closed before; then epoll has forgotten it already.
            let _ = self.instance.control(libc::EPOLL_CTL_DEL, descriptor, 0, 0);
        }
    }

    /// Wait until a watched descriptor is ready, at most for `timeout`, and gather what is.
    pub(crate) fn look(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.stale_looks > STALE_LOOKS_MAX {
            self.renew()?;
        }
        if self.events.is_empty() {
            self.events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        }
        // What was not taken is ready still, and found again.
        self.found.clear();
        let count = match self.instance.wait(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            result => result?,
        };
        let mut is_stale = false;
        for event in &self.events[..count] {
            let (data, bits) = (event.u64, event.events);
            if data == WAKER {
                continue;
            }
            is_stale |= self.watch_of(data).is_none();
            self.found.push_back((data, bits));
        }
        self.stale_looks = if is_stale { self.stale_looks + 1 } else { 0 };
        Ok(())
    }

    fn watch_of(&self, data: u64) -> Option<&Watch> {
        let watch = self.watched.get(&(data as u32 as Descriptor));
        watch.filter(|watch| u64::from(watch.count) == data >> 32)
    }

    /// Whether the latest look has found what was not taken yet.
    #[inline]
    pub(crate) fn has_found(&self) -> bool {
        !self.found.is_empty()
    }

    /// The next of what the latest look has found.
    pub(crate) fn next(&mut self) -> Option<Completion> {
        while let Some((data, bits)) = self.found.pop_front() {
            let Some(watch) = self.watch_of(data) else {
                continue;
            };
            let is_broken = bits & (libc::EPOLLERR | libc::EPOLLHUP) as u32 != 0;
            let has = |event: i32| {
                i32::from(watch.mask) & event != 0 && (is_broken || bits & event as u32 != 0)
            };
            let interest = Interest {
                read: has(libc::EPOLLIN),
                write: has(libc::EPOLLOUT),
            };
            return Some(Completion {
                token: watch.token,
                outcome: Outcome::Ready(interest),
            });
        }
        None
    }

    fn renew(&mut self) -> io::Result<()> {
        let fresh = Instance::new()?;
        if let Some(waker) = self.waker {
            fresh.watch_waker(waker, WAKER)?;
        }
        for (descriptor, watch) in &self.watched {
            let data = carried(*descriptor, watch.count);
            // A descriptor may have been closed since.
            let _ = fresh.control(libc::EPOLL_CTL_ADD, *descriptor, watch.mask, data);
        }
        self.instance = fresh;
        self.stale_looks = 0;
        Ok(())
    }
}

fn mask_of(interest: Interest) -> u8 {
    let read = if interest.read { libc::EPOLLIN } else { 0 };
    let write = if interest.write { libc::EPOLLOUT } else { 0 };
    (read | write) as u8
}
