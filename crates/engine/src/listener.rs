//! A listening socket: which connections are accepted, and what happens to errors of `accept(2)`.
//!
//! A full descriptor table (`EMFILE`, `ENFILE`) or a lack of kernel memory (`ENOBUFS`, `ENOMEM`)
//! must neither end the process nor keep it busy with retries: accepting pauses for a moment and
//! then continues. A client that exceeds a limit gets an answer if the protocol has one (503 with
//! HTTP), and otherwise a reset. The number of connections that are answered in this way at the
//! same time is limited too.

use crate::carrier::ip_address;
use crate::close::NotOpened;
use crate::endpoint::{Endpoint, add};
use crate::engine::{Due, Engine};
use crate::host::{Denial, Event, Host};
use crate::inbound::Inbound;
use crate::limit::Limit;
use crate::share::{LOOK_MILLISECONDS, Look, Share};
use std::cell::Cell;
use std::rc::Rc;
use vespiary_port::timer::Key;
use vespiary_port::{Address, Descriptor, Errno, Token};

/// How long accepting pauses after an error: long enough to use little CPU time, short enough that
/// clients do not notice it.
const PAUSE_MILLISECONDS: u64 = 100;
/// How many connections at a time are answered with the reason of their refusal; more are reset.
const REFUSALS_MAX: u32 = 256;

/// A listening socket of an engine.
pub struct Listener<H: Host> {
    engine: Rc<Engine<H>>,
    /// The endpoint it feeds.
    pub endpoint: Rc<Endpoint<H>>,
    socket: Descriptor,
    token: Token,
    accepting: Cell<bool>,
    closing: Cell<bool>,
    suspended: Cell<bool>,
    /// The timer that ends a pause, after an error or while it stands back.
    pause: Cell<Option<Key>>,
    /// What it saw when it looked last, while it stands back: see [`crate::share`].
    standing_back: Cell<Option<Look>>,
}

impl<H: Host> Listener<H> {
    pub(crate) fn start(
        engine: &Rc<Engine<H>>,
        socket: Descriptor,
        endpoint: Rc<Endpoint<H>>,
    ) -> Rc<Self> {
        let mut made = None;
        engine.listeners.borrow_mut().insert_with(|token| {
            let listener = Rc::new(Self {
                engine: engine.clone(),
                endpoint,
                socket,
                token,
                accepting: Cell::new(false),
                closing: Cell::new(false),
                suspended: Cell::new(true),
                pause: Cell::new(None),
                standing_back: Cell::new(None),
            });
            made = Some(listener.clone());
            listener
        });
        made.expect("the table calls the closure")
    }

    /// The address it is bound to.
    pub fn address(&self) -> std::io::Result<Address> {
        self.engine.port.borrow().local_address(self.socket)
    }

    pub(crate) fn accept_again(&self) {
        let is_paused =
            self.closing.get() || self.suspended.get() || self.standing_back.get().is_some();
        if !is_paused && !self.accepting.replace(true) {
            self.engine
                .port
                .borrow_mut()
                .accept(self.socket, self.token);
            self.engine.host.turn_wanted();
        }
    }

    /// Stop accepting; connections wait in the kernel's backlog until [`Listener::unsuspend`].
    pub fn suspend(&self) {
        if !self.suspended.replace(true) && self.accepting.get() {
            self.engine.port.borrow_mut().cancel_accept(self.token);
            self.engine.host.turn_wanted();
        }
    }

    /// Accept again after [`Listener::suspend`].
    pub fn unsuspend(&self) {
        self.suspended.set(false);
        self.accept_again();
    }

    /// A pause is over.
    pub(crate) fn pause_over(&self) {
        self.pause.set(None);
        if let Some(before) = self.standing_back.get()
            && self.endpoint.is_ahead()
        {
            let now = self.look();
            if !now.is_in_vain(before) {
                self.standing_back.set(Some(now));
                return self.pause_for(LOOK_MILLISECONDS);
            }
        }
        self.standing_back.set(None);
        self.accept_again();
    }

    fn look(&self) -> Look {
        let share = self.endpoint.share.borrow();
        let look = |share: &Rc<dyn Share>| Look::at(&**share, self.socket);
        share.as_ref().map_or(Look::default(), look)
    }

    /// Leave the next connections to other processes.
    fn stand_back(&self) {
        if self.standing_back.get().is_none() {
            self.standing_back.set(Some(Look::default()));
            if self.accepting.get() {
                self.engine.port.borrow_mut().cancel_accept(self.token);
            }
            self.pause_for(LOOK_MILLISECONDS);
        }
    }

    fn pause_for(&self, milliseconds: u64) {
        let due = self.engine.port.borrow().now() + milliseconds * 1_000_000;
        let mut wheel = self.engine.wheel.borrow_mut();
        let key = wheel.insert(due, Due::token(self.token));
        if let Some(before) = self.pause.replace(Some(key)) {
            wheel.cancel(before);
        }
    }

    /// Stop listening. Connections already accepted stay.
    pub fn close(&self) {
        if self.closing.replace(true) {
            return;
        }
        if self.accepting.get() {
            self.engine.port.borrow_mut().cancel_accept(self.token);
            self.engine.host.turn_wanted();
        } else {
            self.release();
        }
    }

    /// Whether it has released its socket, so that the address is free again.
    pub fn is_closed(&self) -> bool {
        self.engine.listeners.borrow().get(self.token).is_none()
    }

    pub(crate) fn release(&self) {
        if let Some(key) = self.pause.take() {
            self.engine.wheel.borrow_mut().cancel(key);
        }
        if self
            .engine
            .listeners
            .borrow_mut()
            .remove(self.token)
            .is_some()
        {
            self.engine.port.borrow_mut().close(self.socket, false);
        }
    }

    pub(crate) fn ended(&self, errno: Errno) {
        self.accepting.set(false);
        if self.closing.get() {
            return self.release();
        }
        if errno == Errno::CANCELLED {
            return self.accept_again();
        }
        *self
            .endpoint
            .counters
            .accept_errors
            .borrow_mut()
            .entry(errno.0)
            .or_default() += 1;
        let event = Event::AcceptFailed {
            errno: errno.0,
            pause_milliseconds: PAUSE_MILLISECONDS,
        };
        self.engine.host.event(&self.endpoint, event);
        self.pause_for(PAUSE_MILLISECONDS);
    }

    /// The kernel has accepted a connection, perhaps just before this listener was closed. Its
    /// client knows nothing of that, so the connection ends like all others of its endpoint.
    pub(crate) fn accepted(&self, socket: Descriptor) {
        add(&self.endpoint.counters.accepted, 1);
        let (now, peer) = {
            let port = self.engine.port.borrow();
            (port.now(), port.peer_address(socket).ok())
        };
        let now_ms = self.engine.now_ms();
        let admitted = self.endpoint.admit(now, now_ms).and_then(|()| {
            // A proxy says later for whom it connects, or asks.
            let options = self.endpoint.options.borrow();
            let direct = peer.as_ref().filter(|it| !options.may_be_proxy(it));
            let address = direct.and_then(ip_address);
            address.map_or(Ok(false), |it| self.endpoint.admit_address(it, now_ms))
        });
        let is_counted = match admitted {
            Ok(is_counted) => is_counted,
            Err(limit) => {
                self.endpoint.limit_reached(&self.engine.host, limit);
                return self.refuse(socket, limit, peer);
            }
        };
        let inbound = Inbound::for_server(&self.endpoint.options.borrow().framing);
        let endpoint = self.endpoint.clone();
        let connection = self.engine.add_connection(socket, endpoint, false, inbound);
        connection.counted.set(is_counted);
        if let Some(peer) = peer {
            connection.carrier.set_peer(peer);
        }
        connection.begin_receiving();
        connection.unsettle();
        if self.endpoint.is_ahead() {
            self.stand_back();
        }
    }

    fn refuse(&self, socket: Descriptor, limit: Limit, peer: Option<Address>) {
        let http = self.endpoint.options.borrow().framing.begins_with_http();
        self.endpoint.count_refusal(NotOpened::Limit(limit));
        let engine = &self.engine;
        if !http || engine.refusals.get() >= REFUSALS_MAX {
            let denial = Denial {
                status: None,
                text: &format!("this end has reached {limit}"),
                advice: "",
                is_ours: true,
            };
            engine.host.denied(&self.endpoint, peer, denial);
            return engine.port.borrow_mut().close(socket, true);
        }
        engine.refusals.set(engine.refusals.get() + 1);
        let connection = engine.add_refused(socket, self.endpoint.clone());
        if let Some(peer) = peer {
            connection.carrier.set_peer(peer);
        }
        connection.refuse_over_limit(limit);
    }
}
