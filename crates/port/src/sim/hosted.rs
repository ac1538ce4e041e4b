//! The simulation as the port of a whole program: simulated sockets next to real descriptors.
//!
//! An asyncio loop watches descriptors of the kernel: its self-pipe, other libraries' sockets,
//! child processes. Other threads wake it. [`Hosted`] has [`Sim`] carry out the operations on
//! sockets, and watches the real descriptors with poll(2).
//!
//! **Time** is the simulation's: where nothing is ready it jumps to the next thing that happens, or
//! to the caller's timeout. Two situations make it wait for the kernel instead:
//!
//! * nothing is scheduled and there is no timeout, so that only the kernel or another thread can
//!   make the program continue;
//! * a [`Hold`] is taken, because a thread works for the program. Then time passes as fast as it
//!   really does. Otherwise every deadline would be over before the thread has begun.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Faults, Sim};
use crate::wake::Waker;
use crate::{Completion, Descriptor, Interest, Outcome, Port, Token, Wake};

/// How many threads work for the program; while there are any, time does not jump.
#[derive(Clone, Default)]
pub struct Hold(Rc<Cell<usize>>);

impl Hold {
    /// A thread begins to work.
    pub fn take(&self) {
        self.0.set(self.0.get() + 1);
    }

    /// A thread has finished.
    pub fn release(&self) {
        self.0.set(self.0.get().saturating_sub(1));
    }

    fn is_taken(&self) -> bool {
        self.0.get() > 0
    }
}

/// A simulated port in a real program. See the module's documentation.
pub struct Hosted {
    sim: Sim,
    watched: BTreeMap<Descriptor, (Token, Interest)>,
    ready: VecDeque<(Descriptor, Token, Interest)>,
    waker: Arc<Waker>,
    hold: Hold,
}

impl Hosted {
    /// A port in a world of its own, where chance follows `seed`.
    pub fn new(seed: u64, faults: Faults) -> io::Result<Self> {
        Ok(Self {
            sim: Sim::new(seed, faults),
            watched: BTreeMap::new(),
            ready: VecDeque::new(),
            waker: Waker::new()?,
            hold: Hold::default(),
        })
    }

    /// What keeps time from jumping.
    pub fn hold(&self) -> Hold {
        self.hold.clone()
    }

    /// Wait for the real descriptors and the waker; whether any of them is ready.
    fn look(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let mut asked = vec![poll_entry(self.waker.descriptor(), libc::POLLIN)];
        asked.extend(self.watched.iter().map(|(descriptor, (_, interest))| {
            let read = if interest.read { libc::POLLIN } else { 0 };
            let write = if interest.write { libc::POLLOUT } else { 0 };
            poll_entry(*descriptor, read | write)
        }));
        wait(&mut asked, timeout)?;
        let is_woken = asked[0].revents != 0;
        if is_woken {
            self.waker.reset();
        }
        self.ready.clear();
        for (entry, (descriptor, (token, interest))) in asked[1..].iter().zip(&self.watched) {
            let failed = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;
            let read = interest.read && entry.revents & (libc::POLLIN | failed) != 0;
            let write = interest.write && entry.revents & (libc::POLLOUT | failed) != 0;
            if read || write {
                self.ready
                    .push_back((*descriptor, *token, Interest { read, write }));
            }
        }
        Ok(is_woken || !self.ready.is_empty())
    }

    /// How long until the simulation has something; `None`: nothing is on its way.
    fn next_event(&self) -> Option<Duration> {
        let state = self.sim.state.borrow();
        let time = state.next_event()?;
        Some(Duration::from_nanos(time.saturating_sub(state.now)))
    }

    /// Wait with the real clock, and let the simulation's time pass with it.
    fn wait_really(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let began = Instant::now();
        self.look(timeout)?;
        let passed = timeout.map_or(began.elapsed(), |timeout| began.elapsed().min(timeout));
        self.sim.turn(Some(Duration::ZERO))?;
        self.sim.pass(passed);
        Ok(())
    }
}

fn poll_entry(descriptor: Descriptor, events: i16) -> libc::pollfd {
    libc::pollfd {
        fd: descriptor,
        events,
        revents: 0,
    }
}

/// poll(2); a signal ends it early.
fn wait(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    // Rounded up, so that a caller with a timeout does not spin.
    let milliseconds = timeout.map_or(-1, |timeout| {
        i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    });
    // SAFETY: the entries are ours and live through the call.
    let count = unsafe {
        libc::poll(
            entries.as_mut_ptr(),
            entries.len() as libc::nfds_t,
            milliseconds,
        )
    };
    if count < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(())
}

impl Port for Hosted {
    crate::forward_to_port!(sim:
        name now accept cancel_accept receive cancel_receive send cancel_send connect
        cancel_connect open listen adopt bind adopt_datagrams watch_datagrams unwatch_datagrams
        receive_datagrams send_datagrams keep_alive shutdown close local_address peer_address
        delivery unread descriptor rest counters
    );

    fn poll(&mut self, descriptor: Descriptor, token: Token, interest: Interest) -> io::Result<()> {
        if interest == Interest::default() {
            self.unpoll(descriptor, token);
        } else {
            self.watched.insert(descriptor, (token, interest));
        }
        Ok(())
    }

    fn unpoll(&mut self, descriptor: Descriptor, _token: Token) {
        self.watched.remove(&descriptor);
        self.ready.retain(|(watched, _, _)| *watched != descriptor);
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.sim.turn(Some(Duration::ZERO))?;
        let is_ready = self.look(Some(Duration::ZERO))?;
        if is_ready || self.sim.has_batch() || timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Ok(());
        }
        let next = self.next_event().into_iter().chain(timeout).min();
        if next.is_none() || self.hold.is_taken() {
            return self.wait_really(next);
        }
        self.sim.turn(timeout)
    }

    fn next(&mut self) -> Option<Completion> {
        if let Some(completion) = self.sim.next() {
            return Some(completion);
        }
        let (_, token, interest) = self.ready.pop_front()?;
        Some(Completion {
            token,
            outcome: Outcome::Ready(interest),
        })
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }
}
