//! permessage-deflate on a connection: what it keeps, and what it borrows.
//!
//! A connection that agreed on compression has a [`Deflate`], which holds as little memory as
//! possible:
//!
//! | | when |
//! |---|---|
//! | a compressor | from its first compressed message on, if this side takes its context over |
//! | | else within a message that goes out in parts |
//! | a history | from the peer's first compressed message on, if the peer takes its context over |
//! | an inflater | within a message that has not come whole |
//!
//! Everything else is borrowed from the engine's pool for the time of a call, so that a connection
//! that agreed and is silent costs some hundred bytes. What is held is accounted to the endpoint.
//!
//! **Order.** Where the context is taken over, what was compressed has to be sent: a message that
//! is dropped would be missing from the peer's window, and all later messages would be garbled. So
//! room is asked for before compressing, for as much as the message could take at the worst, and
//! what was compressed with a context is never dropped. An endpoint with the policy drop-oldest
//! does not take its context over.

mod inbound;
mod outbound;
mod pool;

use crate::options::{Compression, Options, SlowConsumer};
use crate::session::sink::Sink;
use pool::Inflating;
use std::cell::{Cell, RefCell};
use vespiary_trace::requires;
use vespiary_wire::websocket::deflate::{
    Compressor, Direction, History, Inflater, Offer, Parameters, Settings, Shape, accept,
};
use vespiary_wire::websocket::extension;
use vespiary_wire::websocket::profile::Version;

pub(crate) use inbound::{abandon, is_waiting, on_data, resume};
pub(crate) use outbound::{Sharing, encode_alone, worst};
pub(crate) use pool::Pool;

/// Bytes inflated, or compressed, that count as a frame of a turn's budget: a turn does 1 MiB.
const FRAME_BYTES: usize = 1024;

/// What compression did on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompressionTraffic {
    /// Compressed messages that came.
    pub messages_in: u64,
    /// Bytes of their payloads as they came.
    pub compressed_in: u64,
    /// Bytes of their payloads, inflated.
    pub inflated_in: u64,
    /// Messages that went out compressed.
    pub messages_out: u64,
    /// Bytes of their payloads, before.
    pub plain_out: u64,
    /// Bytes of their payloads as they went.
    pub compressed_out: u64,
}

/// A connection's compression, from the handshake on.
pub(crate) struct Deflate {
    agreed: Parameters,
    chosen: Compression,
    incoming: Direction,
    pub(crate) outgoing: Direction,
    compressor: RefCell<Option<Compressor>>,
    history: RefCell<Option<History>>,
    message: RefCell<Option<Box<Inflating>>>,
    /// The message that goes out in parts is compressed.
    pub(crate) part_is_compressed: Cell<bool>,
    traffic: Cell<CompressionTraffic>,
    /// What of its memory is accounted to the endpoint.
    accounted: Cell<u64>,
}

impl Deflate {
    pub(crate) fn new(agreed: Parameters, chosen: Compression, is_client: bool) -> Box<Self> {
        let (mut incoming, mut outgoing) = (agreed.client(), agreed.server());
        let mut own = chosen.settings.server;
        if is_client {
            std::mem::swap(&mut incoming, &mut outgoing);
            own = chosen.settings.client;
        }
        // A client may use less than was agreed on, and no more; a server has said what it uses.
        let is_within = requires!("rfc7692/7.2.2/10" => outgoing.window_bits <= own.window_bits);
        if !is_within {
            outgoing.window_bits = own.window_bits;
        }
        outgoing.context_takeover &= own.context_takeover;
        Box::new(Self {
            agreed,
            chosen,
            incoming,
            outgoing,
            compressor: RefCell::default(),
            history: RefCell::default(),
            message: RefCell::default(),
            part_is_compressed: Cell::new(false),
            traffic: Cell::default(),
            accounted: Cell::new(0),
        })
    }

    /// As the server's header has it.
    pub(crate) fn agreed(&self) -> Parameters {
        self.agreed
    }

    pub(crate) fn traffic(&self) -> CompressionTraffic {
        self.traffic.get()
    }

    fn shape(&self) -> Shape {
        Shape {
            window_bits: self.outgoing.window_bits,
            level: self.chosen.level,
            memory_level: self.chosen.memory_level,
        }
    }

    /// What it holds of memory now, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let compressor = self.compressor.borrow();
        let compressor = compressor
            .as_ref()
            .map_or(0, |it| it.shape().memory_bytes());
        let history = self.history.borrow();
        let history = history.as_ref().map_or(0, History::memory_bytes);
        let message = self.message.borrow();
        let message = message.as_ref().map_or(0, |it| {
            let waiting = it.waiting.as_ref().map_or(0, |(bytes, _)| bytes.capacity());
            Inflater::MEMORY_BYTES + it.inflater.history_bytes() + waiting
        });
        (compressor + history + message) as u64
    }

    /// Bring the endpoint's account of memory up to date.
    pub(crate) fn account<S: Sink>(&self, sink: &S) {
        let held = self.memory_bytes();
        sink.account_compression(self.accounted.replace(held), held);
    }

    /// Count what it did, for the connection and its endpoint.
    fn count<S: Sink>(&self, sink: &S, change: impl Fn(&mut CompressionTraffic)) {
        let mut traffic = self.traffic.get();
        change(&mut traffic);
        self.traffic.set(traffic);
        sink.count_compression(change);
    }

    /// The connection has ended: return what others can use to the pool, and free the rest.
    pub(crate) fn release<S: Sink>(&self, sink: &S) {
        let mut pool = sink.compression_pool().borrow_mut();
        if let Some(compressor) = self.compressor.take() {
            pool.put_compressor(compressor);
        }
        if let Some(mut message) = self.message.take() {
            message.inflater.take_history();
            message.waiting = None;
            pool.put_message(message);
        }
        self.history.take();
        drop(pool);
        self.account(sink);
    }
}

/// The most that an endpoint agrees to; the policy for slow consumers can restrict it. The
/// extension belongs to RFC 6455.
fn settings(options: &Options, version: Version, is_client: bool) -> Option<Settings> {
    if version != Version::Rfc6455 {
        return None;
    }
    let mut settings = options.websocket.compression.as_ref()?.settings;
    if options.slow_consumer == SlowConsumer::DropOldest {
        if is_client {
            settings.client.context_takeover = false;
        } else {
            settings.server.context_takeover = false;
        }
    }
    Some(settings)
}

/// A server's answer to what a client offers, if it takes one of the offers. The lists of several
/// lines are one list, which was seen to be well-formed.
pub(crate) fn answer(options: &Options, version: Version, lines: &[String]) -> Option<Parameters> {
    let settings = settings(options, version, false)?;
    let profile = version.profile();
    let parsed = lines
        .iter()
        .filter_map(|line| extension::parse(profile, line).ok());
    let offers: Vec<_> = parsed.flatten().collect();
    accept(&offers, &settings)
}

/// What a client offers.
pub(crate) fn offer(options: &Options, version: Version) -> Option<Offer> {
    settings(options, version, true).map(|settings| Offer::new(&settings))
}

/// The parameters were agreed on: from now on messages may be compressed.
pub(crate) fn agree<S: Sink>(sink: &S, agreed: Option<Parameters>) {
    // What was only offered is not used.
    if requires!("rfc6455/5.2/2", "rfc6455/5.8/1", "rfc6455/9.1/6" => agreed.is_none()) {
        return;
    }
    let options = sink.options();
    let Some(chosen) = options.websocket.compression else {
        return;
    };
    let agreed = agreed.unwrap_or_default();
    let settings = settings(&options, Version::Rfc6455, sink.is_client());
    let settings = settings.unwrap_or(chosen.settings);
    let chosen = Compression { settings, ..chosen };
    let deflate = Deflate::new(agreed, chosen, sink.is_client());
    // A connection has one handshake.
    let _ = sink.negotiated().deflate.set(deflate);
}
