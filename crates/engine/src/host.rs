//! The interface between the engine and the program that uses it: the methods that the engine
//! calls, and their results.
//!
//! Every method of [`Host`] runs from the engine's loop and never inside another one. A host may
//! send, close or abort from any of them: such requests take effect when the current round of the
//! batch is settled.

use crate::carrier::datagram::DatagramSocket;
use crate::close::CloseReason;
use crate::connection::Connection;
use crate::endpoint::{Endpoint, Place};
use crate::engine::Engine;
use crate::layers::{Filtered, Layer};
use crate::limit::Limit;
use crate::payload::Payload;
use crate::session::http::Answer;
use std::rc::Rc;
use vespiary_port::timer::Fired;
use vespiary_port::{Address, Arrival};
use vespiary_wire::http;
pub use vespiary_wire::websocket::frame::Kind;

/// Whether the connection stays open for writing when the peer has finished sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterEnd {
    /// Flush what waits, then close.
    Close,
    /// The host closes it when it has finished.
    Keep,
}

/// Why a connection, or the request that would have opened it, was refused.
#[derive(Clone, Copy, Debug)]
pub struct Denial<'a> {
    /// The HTTP status of the answer, where there was one.
    pub status: Option<u16>,
    /// What was wrong, as a sentence without its full stop. It may quote the peer.
    pub text: &'a str,
    /// What the server's operator can do about it; may be empty.
    pub advice: &'a str,
    /// Whether this end refused; otherwise the peer or the network ended it before it was open.
    pub is_ours: bool,
}

/// A bound that was reached, or a fault that was survived; the endpoint's counters have it too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A limit or deadline was reached.
    Limit {
        /// Which.
        limit: Limit,
        /// Its value: a count, bytes, or milliseconds.
        value: u64,
    },
    /// `accept(2)` failed; accepting pauses and continues.
    AcceptFailed {
        /// The errno.
        errno: i32,
        /// How long accepting pauses.
        pause_milliseconds: u64,
    },
}

/// The program that uses the engine.
pub trait Host: Sized + 'static {
    /// The bytes of a message.
    type Payload: Payload;
    /// What the host keeps for an endpoint.
    type Endpoint;
    /// What the host keeps for a connection.
    type User;
    /// Its reasons for not reading ([`Connection::pause`]) that do not count once the peer's end
    /// has come: those of queues, which the few bytes before the end may fill beyond their limit.
    const YIELDING: u8 = 0;
    /// Those that count although the host takes no more messages: they limit a rate.
    const THROTTLING: u8 = 0;

    /// Which endpoint serves a request that came on a connection of an address; `None` is answered
    /// 404.
    fn route(
        &self,
        connection: &Rc<Connection<Self>>,
        request: &http::Request,
    ) -> Option<Rc<Endpoint<Self>>> {
        let _ = request;
        Some(connection.endpoint().clone())
    }
    /// An HTTP request came, with its body, or an upgrade request. See
    /// [`Connection::asked_endpoint`]. Where the endpoint's options stream requests, `body` is
    /// empty, and what there is of it follows by [`Host::body_piece`].
    fn request(
        &self,
        connection: &Rc<Connection<Self>>,
        request: http::Request,
        body: Vec<u8>,
    ) -> Answer;
    /// A piece of the body of the current request has come. To hold the peer back, pause the
    /// connection.
    fn body_piece(&self, connection: &Rc<Connection<Self>>, data: &[u8]) {
        let _ = (connection, data);
    }
    /// The body of the current request is complete.
    fn body_ended(&self, connection: &Rc<Connection<Self>>) {
        let _ = connection;
    }
    /// The body of the current request will not be complete: the request was refused, and the
    /// client has its answer.
    fn body_failed(&self, connection: &Rc<Connection<Self>>, reason: &CloseReason) {
        let _ = (connection, reason);
    }
    /// The client has finished sending behind a request that is not answered yet. It may still read
    /// the answer, or be gone.
    fn requester_finished(&self, connection: &Rc<Connection<Self>>) {
        let _ = connection;
    }
    /// The write queue has fallen to `write_low_bytes` while a response is in progress.
    fn has_room(&self, connection: &Rc<Connection<Self>>) {
        let _ = connection;
    }
    /// A client's connect has succeeded; the handshake, if there is one, begins. After an abort
    /// here the request is not sent to the server.
    fn connected(&self, connection: &Rc<Connection<Self>>) {
        let _ = connection;
    }
    /// A client's handshake has succeeded: the header lines of the server's 101.
    fn accepted(&self, connection: &Rc<Connection<Self>>, headers: Vec<(String, String)>) {
        let _ = (connection, headers);
    }
    /// The connection is ready for messages.
    fn opened(&self, connection: &Rc<Connection<Self>>);
    /// The handshake of a layer has succeeded that was started while the connection lives.
    fn secured(&self, connection: &Rc<Connection<Self>>) {
        let _ = connection;
    }
    /// A whole binary message, or a piece, line or packet of a stream.
    fn binary(&self, connection: &Rc<Connection<Self>>, payload: Self::Payload);
    /// A whole text message.
    fn text(&self, connection: &Rc<Connection<Self>>, text: &str);
    /// A part of a message; only where the endpoint's options ask for parts. Text is checked as
    /// UTF-8 over all parts.
    fn part(
        &self,
        connection: &Rc<Connection<Self>>,
        kind: Kind,
        payload: Self::Payload,
        last: bool,
    );
    /// The peer's close frame, or a fault that ends the connection, is behind the messages handed
    /// over: a host that puts messages aside may answer them now, and no later.
    fn ending(&self, connection: &Rc<Connection<Self>>) {
        let _ = connection;
    }
    /// The peer sent a WebSocket pong: the payload of the ping that it answers.
    fn pong(&self, connection: &Rc<Connection<Self>>, payload: &[u8]) {
        let _ = (connection, payload);
    }
    /// Whether the host wants to know when this connection subscribes, and when it no longer is.
    fn watches_subscriptions(&self, connection: &Rc<Connection<Self>>) -> bool {
        let _ = connection;
        false
    }
    /// A connection has subscribed to a topic or by a pattern, or no longer is subscribed; also at
    /// its end, before `closed`.
    fn subscription(&self, connection: &Rc<Connection<Self>>, name: &str, is_subscribed: bool) {
        let _ = (connection, name, is_subscribed);
    }
    /// The write queue has fallen to `write_low_bytes`, having been above `write_high_bytes`.
    fn drained(&self, connection: &Rc<Connection<Self>>);
    /// The peer of a stream has finished sending.
    fn ended(&self, connection: &Rc<Connection<Self>>) -> AfterEnd;
    /// Whether the host waits for nothing but the end of a connection that it does not read, so
    /// that the peer's FIN ends it although messages stand before it.
    fn awaits_only_end(&self, connection: &Rc<Connection<Self>>) -> bool {
        let _ = connection;
        false
    }
    /// An opened connection is gone. Called once for each `opened`.
    fn closed(&self, connection: &Rc<Connection<Self>>, reason: &CloseReason);
    /// A connection has ended, opened or not, after `closed`. A host whose handler still works on
    /// it keeps the place until that has finished.
    fn left(&self, connection: &Rc<Connection<Self>>, place: Place<Self>) {
        let _ = (connection, place);
    }
    /// A connection that was asked for with `connect` could not be opened.
    fn refused(&self, connection: &Rc<Connection<Self>>, reason: &CloseReason);
    /// A server's endpoint has refused a connection, or the request that would have opened it.
    fn denied(&self, endpoint: &Rc<Endpoint<Self>>, peer: Option<Address>, denial: Denial<'_>) {
        let _ = (endpoint, peer, denial);
    }
    /// The peer broke a rule of the protocol; the connection is being failed. What was broken.
    fn rule_broken(&self, connection: &Rc<Connection<Self>>, reason: &CloseReason) {
        let _ = (connection, reason);
    }
    /// The host's answer to a request cannot be sent; the client gets 500.
    fn fault(&self, connection: &Rc<Connection<Self>>, text: &str);
    /// Datagrams came, the oldest first. The rest of the batch when the socket is closed does not
    /// come any more.
    fn datagrams<'a>(
        &self,
        socket: &Rc<DatagramSocket<Self>>,
        batch: impl Iterator<Item = (&'a Arrival, &'a [u8])>,
    ) {
        let _ = (socket, batch.count());
    }
    /// A limit was reached, or accepting failed.
    fn event(&self, endpoint: &Rc<Endpoint<Self>>, event: Event);
    /// The layers of a new connection, or of a client's when a proxy has opened the way to the
    /// server; the one nearest to the socket first. A session begins when all of them are ready.
    fn layers(&self, connection: &Rc<Connection<Self>>) -> Vec<Box<dyn Layer>> {
        let _ = connection;
        Vec::new()
    }
    /// Bytes came from the peer of a filtered endpoint: what the framing gets instead,
    /// which may be nothing. `None` resets the connection.
    fn filter_received(&self, connection: &Rc<Connection<Self>>, bytes: &[u8]) -> Filtered {
        let _ = connection;
        Filtered::Bytes(bytes.to_vec())
    }
    /// Bytes are about to leave a filtered endpoint: what the peer gets instead, which
    /// may be nothing. `None` resets the connection.
    fn filter_sent(&self, connection: &Rc<Connection<Self>>, bytes: &[u8]) -> Filtered {
        let _ = connection;
        Filtered::Bytes(bytes.to_vec())
    }
    /// The completions of a round were handed over; what the host gathered from them may run now.
    fn round_over(&self);
    /// Something was requested that needs a turn. During a turn the host need not do anything.
    /// Otherwise a host whose turns another loop takes must schedule one.
    #[inline]
    fn turn_wanted(&self) {}
    /// A timer that the host set is due.
    fn timer(&self, engine: &Rc<Engine<Self>>, timer: &Fired<u64>);
    /// Something happened to a stream of the host's own: bytes came, its receive has ended, or not
    /// all was sent.
    fn stream(&self, number: u64, outcome: vespiary_port::Outcome) {
        let _ = (number, outcome);
    }
    /// A foreign descriptor that the host polls is ready.
    fn ready(&self, descriptor: i32, interest: vespiary_port::Interest);
}
