//! A connection's layers: where its bytes go through them, and what they find out about it.
//!
//! The stack is taken out of its cell while it works, so that a handler or a filter may push one
//! more layer meanwhile.

use crate::admission;
use crate::close::{Cause, CloseReason, file_failed};
use crate::connection::{Connection, Event as Life, State, Upgrade};
use crate::endpoint::add;
use crate::host::Host;
use crate::inbound::Inbound;
use crate::layers::stack::{Event, Stack};
use crate::layers::{Filter, Filtered, Filters, Layer, ProxyHeader, filter_failed};
use crate::memory;
use crate::receive;
use crate::session::websocket::compression;
use std::rc::{Rc, Weak};
use vespiary_port::{Chunk, Outgoing};

impl<H: Host> Filter for Connection<H> {
    fn received(self: Rc<Self>, bytes: &[u8]) -> Filtered {
        self.engine.host.filter_received(&self, bytes)
    }

    fn sent(self: Rc<Self>, bytes: &[u8]) -> Filtered {
        self.engine.host.filter_sent(&self, bytes)
    }
}

impl<H: Host> Connection<H> {
    /// Put a layer between the session and the layers that it has.
    ///
    /// Bytes that were queued before pass it by. Bytes that were received behind the message that
    /// is being handled go through it: the session takes nothing more in this turn.
    pub fn push_layer(self: &Rc<Self>, layer: Box<dyn Layer>) {
        self.add_layer(layer);
        self.engine.set_resting(self);
        self.unsettle();
    }

    /// Secure a living connection with a layer that completes a handshake first (STARTTLS).
    ///
    /// Bytes that were queued before pass it by. What is queued from now on waits until it is
    /// ready, and [`Host::secured`] is called then; `handshake_seconds` bounds the time until then.
    ///
    /// The peer must have waited, too. Bytes that came behind the message that is being handled, or
    /// wait to be handled, were sent without protection, by the peer or by anyone on the way. They
    /// must not be taken for protected ones (CVE-2011-0411), so they end the connection.
    /// `has_unhandled` says whether the host has such messages.
    pub fn start_layer(self: &Rc<Self>, layer: Box<dyn Layer>, has_unhandled: bool) {
        let is_behind = match self.inbound.try_borrow() {
            Ok(inbound) => inbound.held_bytes() > 0 || inbound.session.is_mid_message(),
            // A message is being handled: see `receive::check_plain_end`.
            Err(_) => false,
        };
        if has_unhandled || is_behind {
            add(&self.endpoint().counters.protocol_errors, 1);
            return self.fail(receive::unprotected());
        }
        self.push_layer(layer);
        let now = self.engine.now_ms();
        let is_awaited = with_stack(self, |stack| stack.await_handshake(now)) == Some(true);
        self.upgrade.set(if is_awaited {
            Upgrade::Handshaking
        } else {
            Upgrade::Over
        });
        self.engine.arm(self);
    }

    /// Let no more than so many bytes go into the layers from now on, until the next call; the
    /// others wait in the write queue. `None` lifts the bound; at first there is none.
    pub fn limit_sending(self: &Rc<Self>, bytes: Option<usize>) {
        let mut rooms = self.engine.send_rooms.borrow_mut();
        match bytes {
            Some(bytes) if self.state() != State::Closed => rooms.insert(self.token, bytes),
            _ => rooms.remove(&self.token),
        };
        drop(rooms);
        self.unsettle();
    }

    /// The host's filter has finished with the received bytes that it has put off
    /// ([`Filtered::Later`]): the session gets these in their place. `None` where it failed.
    pub fn filtered_received(self: &Rc<Self>, bytes: Option<Vec<u8>>) {
        let Some(bytes) = bytes else {
            return self.filter_failed();
        };
        with_stack(self, |stack| stack.resume_received(bytes));
        self.unsettle();
    }

    /// The same for bytes to be sent: these leave in their place.
    pub fn filtered_sent(self: &Rc<Self>, bytes: Option<Vec<u8>>) {
        let Some(bytes) = bytes else {
            return self.filter_failed();
        };
        if let Some(Err(reason)) = with_stack(self, |stack| stack.resume_sent(&bytes)) {
            self.end_with(reason);
            self.abort_now();
        }
        self.unsettle();
    }

    fn filter_failed(self: &Rc<Self>) {
        self.end_with(filter_failed());
        self.abort_now();
        self.unsettle();
    }

    /// Whether a filter works on bytes to be sent.
    pub(crate) fn is_filtering_sent(self: &Rc<Self>) -> bool {
        self.layered.get() && with_stack(self, |stack| stack.is_sending()).unwrap_or(false)
    }

    fn send_room(&self) -> usize {
        let rooms = self.engine.send_rooms.borrow();
        rooms.get(&self.token).copied().unwrap_or(usize::MAX)
    }

    /// When the handshake began that is in progress, of a layer that was started while the
    /// connection lives.
    pub(crate) fn upgrading_since(&self) -> Option<u64> {
        if !self.is_upgrading() {
            return None;
        }
        let stack = self.layers.take();
        let since = stack.as_ref().and_then(|it| it.handshake_began());
        self.layers.set(stack);
        since
    }

    pub(crate) fn add_layer(self: &Rc<Self>, layer: Box<dyn Layer>) {
        let older = self.outbound.borrow_mut().keep_waiting();
        let mut stack = self.layers.take().unwrap_or_default();
        let pushed = stack.push(layer, older);
        self.layers.set(Some(stack));
        self.layered.set(true);
        if let Err(reason) = pushed {
            self.end_with(reason);
            self.abort_now();
        }
    }

    /// Add the layers that the host wants; whether there are any.
    fn add_host_layers(self: &Rc<Self>) -> bool {
        let layers = self.engine.host.layers(self);
        let has_some = !layers.is_empty();
        for layer in layers {
            self.add_layer(layer);
        }
        has_some
    }

    /// Whether a proxy has connected, which says first for whom.
    fn awaits_proxy_header(&self) -> bool {
        let options = self.endpoint().options.borrow();
        let is_proxy = |peer| options.proxies.include(&peer);
        !self.client && self.carrier.peer().is_some_and(is_proxy)
    }

    /// A client's way through a proxy is open, and the host's layers begin. Whether they are ready.
    pub(crate) fn enter_tunnel(self: &Rc<Self>) -> bool {
        if !self.add_host_layers() {
            return true;
        }
        self.engine.set_resting(self);
        self.unsettle();
        !with_stack(self, Stack::await_ready).unwrap_or(false)
    }

    /// Bytes of memory that its layers hold.
    pub(crate) fn layer_bytes(&self) -> usize {
        let stack = self.layers.take();
        let bytes = stack.as_ref().map_or(0, |it| it.memory_bytes());
        self.layers.set(stack);
        bytes
    }
}

/// Give a new connection the layers that its host and its endpoint want; whether they are ready for
/// the session.
pub(crate) fn install<H: Host>(connection: &Rc<Connection<H>>) -> bool {
    if connection.awaits_proxy_header() {
        connection.add_layer(Box::new(ProxyHeader));
    }
    if !connection.inbound.borrow().awaits_tunnel() {
        connection.add_host_layers();
    }
    if connection.endpoint().options.borrow().filtered {
        let weak = Rc::downgrade(connection);
        let filter: Weak<dyn Filter> = weak;
        connection.add_layer(Box::new(Filters::new(filter)));
    }
    !with_stack(connection, Stack::await_ready).unwrap_or(false)
}

fn with_stack<H: Host, T>(
    connection: &Rc<Connection<H>>,
    work: impl FnOnce(&mut Stack) -> T,
) -> Option<T> {
    let mut stack = connection.layers.take()?;
    let result = work(&mut stack);
    if let Some(pushed) = connection.layers.take()
        && let Err(reason) = stack.push_all(*pushed)
    {
        connection.end_with(reason);
        connection.abort_now();
    }
    if stack.is_over() {
        connection.layered.set(false);
    } else if connection.state() != State::Closed {
        connection.layers.set(Some(stack));
    }
    Some(result)
}

/// Bytes arrived.
pub(crate) fn received<H: Host>(connection: &Rc<Connection<H>>, bytes: &mut [u8]) {
    receive::count(connection, bytes.len());
    if connection.is_over() {
        return;
    }
    let mut inbound = connection.inbound.borrow_mut();
    let may_go = connection.engine.spend(connection) && !connection.is_blocked();
    let older = inbound.take_held();
    let outcome = with_stack(connection, |stack| {
        stack.hold(&older)?;
        if may_go {
            let (work, event) = stack.receive(bytes)?;
            found_out(connection, &mut inbound, work, event.as_ref());
            pull(connection, &mut inbound, stack)
        } else {
            stack.hold(bytes)
        }
    });
    conclude(connection, &mut inbound, outcome);
    connection.unsettle();
}

/// Continue with what waits, unless the connection is still blocked.
pub(crate) fn take_held<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H::Payload>,
) {
    if compression::is_waiting(connection) {
        // It goes before what is held, and may block the connection again.
        receive::feed(connection, inbound, &[]);
    }
    let older = inbound.take_held();
    let outcome = with_stack(connection, |stack| {
        stack.hold(&older)?;
        pull(connection, inbound, stack)
    });
    conclude(connection, inbound, outcome);
    if connection.has_layered_output() {
        // What leaves in this round has left before.
        connection.unsettle();
    }
}

/// Let the layers work and the session take what they produce, until nothing is left to do, or the
/// connection is blocked.
fn pull<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H::Payload>,
    stack: &mut Stack,
) -> Result<(), CloseReason> {
    let most = connection.endpoint().options().limits.write_high_bytes;
    loop {
        if connection.is_over() {
            stack.discard();
            return Ok(());
        }
        // A peer that provokes bytes of a layer's own and does not read them is not read either.
        if connection.is_blocked() || stack.wire().len() > most {
            return Ok(());
        }
        if !stack.plain().is_empty() {
            let used = receive::feed(connection, inbound, stack.plain());
            stack.take_plain(used);
            if used == 0 {
                return Ok(());
            }
        } else if let Some((work, event)) = stack.advance()? {
            found_out(connection, inbound, work, event.as_ref());
        } else {
            return Ok(());
        }
    }
}

fn found_out<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H::Payload>,
    work: u16,
    event: Option<&Event>,
) {
    if work > 0 {
        connection.engine.spend_frames(connection, work);
    }
    match event {
        Some(Event::Ready) if connection.opened.get() => {
            connection.upgraded();
            connection.engine.host.secured(connection);
        }
        Some(Event::Ready) => receive::begin(connection, inbound),
        Some(Event::Ended) => drop(connection.enter(Life::PeerEnd)),
        Some(Event::Removed(address, is_ready)) => {
            if let Some(address) = address {
                admission::peer_learnt(connection, address);
            }
            if *is_ready {
                receive::begin(connection, inbound);
            }
        }
        None => {}
    }
}

fn conclude<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H::Payload>,
    outcome: Option<Result<(), CloseReason>>,
) {
    if let Some(Err(reason)) = outcome {
        if reason.cause == Cause::FilterFailed {
            connection.end_with(reason);
            connection.abort_now();
        } else {
            receive::failed(connection, inbound, reason);
        }
    }
}

/// The bytes to send instead of those that were queued; nothing if all of it was dropped, or a
/// layer is not ready for it.
pub(crate) fn departing<H: Host>(connection: &Rc<Connection<H>>) -> Option<Outgoing> {
    match with_stack(connection, |stack| depart(connection, stack))? {
        Ok(wire) if wire.is_empty() => None,
        Ok(wire) => {
            connection.outbound.borrow_mut().departs(wire.len());
            Some(Outgoing::one(wire))
        }
        Err(reason) => {
            connection.end_with(reason);
            connection.abort_now();
            None
        }
    }
}

fn depart<H: Host>(
    connection: &Rc<Connection<H>>,
    stack: &mut Stack,
) -> Result<Vec<u8>, CloseReason> {
    loop {
        let is_ready = stack.is_ready();
        let room = connection.send_room();
        if room == 0 || !is_ready && stack.older() == 0 {
            break;
        }
        let Some(outgoing) = connection.outbound.borrow_mut().depart() else {
            break;
        };
        let mut bytes = gathered(connection, outgoing)?;
        connection.outbound.borrow_mut().left(bytes.len());
        let most = if is_ready { room } else { stack.older() };
        if bytes.len() > most {
            let rest = bytes.split_off(most);
            connection.outbound.borrow_mut().put_back(rest);
        }
        if let Some(left) = (connection.engine.send_rooms.borrow_mut()).get_mut(&connection.token) {
            *left = room.saturating_sub(bytes.len());
        }
        stack.send(&bytes)?;
        connection.engine.pool.borrow_mut().put(bytes);
        if !stack.wire().is_empty() {
            break;
        }
    }
    Ok(stack.take_wire())
}

fn gathered<H: Host>(
    connection: &Rc<Connection<H>>,
    outgoing: Outgoing,
) -> Result<Vec<u8>, CloseReason> {
    if outgoing.is_one() {
        return Ok(outgoing.into_single().unwrap_or_default());
    }
    let mut bytes = Vec::new();
    if let Some((part, _)) = outgoing.as_file() {
        (part.read(0, part.len(), &mut bytes)).map_err(file_failed)?;
        return Ok(bytes);
    }
    for chunk in outgoing.into_chunks() {
        memory::extend(&mut bytes, chunk.as_slice())?;
        if let Chunk::Owned(buffer) = chunk {
            connection.engine.pool.borrow_mut().put(buffer);
        }
    }
    Ok(bytes)
}

/// This end sends nothing more: let the layers say so. Whether bytes of theirs are to be sent
/// first.
pub(crate) fn end<H: Host>(connection: &Rc<Connection<H>>) -> bool {
    let outcome = with_stack(connection, |stack| {
        stack.end().map(|()| !stack.wire().is_empty())
    });
    match outcome {
        Some(Ok(true)) => {
            connection.unsettle();
            true
        }
        Some(Err(reason)) => {
            connection.end_with(reason);
            connection.abort_now();
            false
        }
        _ => false,
    }
}

/// Whether the socket's stream ended before that of a layer.
pub(crate) fn is_cut<H: Host>(connection: &Rc<Connection<H>>) -> bool {
    with_stack(connection, Stack::is_cut).unwrap_or(false)
}

/// Whether bytes are queued that can leave only when the layers are ready.
pub(crate) fn awaits_ready<H: Host>(connection: &Rc<Connection<H>>) -> bool {
    let older = with_stack(connection, |stack| stack.older()).unwrap_or(0);
    connection.outbound.borrow().waiting() > older
}

/// Received bytes that wait in the layers, and whether they can be taken.
pub(crate) fn waiting<H: Host>(connection: &Rc<Connection<H>>) -> (usize, bool) {
    with_stack(connection, |stack| {
        (stack.held_bytes(), stack.has_waiting())
    })
    .unwrap_or_default()
}

/// Methods for the engine, which does not import this file.
impl<H: Host> Connection<H> {
    #[inline]
    pub(crate) fn take_layered_input(self: &Rc<Self>, bytes: &mut [u8]) {
        received(self, bytes);
    }

    #[inline]
    pub(crate) fn depart_through_layers(self: &Rc<Self>) -> Option<Outgoing> {
        departing(self)
    }

    /// Whether layers have made bytes that have not left: a filter has finished with them, or TLS
    /// has some of its own, while others were being sent.
    pub(crate) fn has_layered_output(self: &Rc<Self>) -> bool {
        with_stack(self, |stack| !stack.wire().is_empty()).unwrap_or(false)
    }

    pub(crate) fn end_layers(self: &Rc<Self>) -> bool {
        end(self)
    }

    pub(crate) fn is_cut_beneath_layers(self: &Rc<Self>) -> bool {
        is_cut(self)
    }

    pub(crate) fn awaits_ready_layers(self: &Rc<Self>) -> bool {
        awaits_ready(self)
    }
}
