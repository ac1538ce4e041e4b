//! What a session reports to.
//!
//! A session turns bytes into messages and knows nothing of sockets, timers or write queues. It
//! reports everything that it finds to a [`Sink`], and before each step it asks the sink whether it
//! may continue. The trait is generic and never an object: a session that is compiled for the
//! engine's connections has their code inlined, and one that is compiled for a test needs no port.
//!
//! Every method takes `&self`. A message's handler may send, pause or close from inside the report,
//! so the sink changes under a session that is in the middle of its input.

use super::http::{Answer, Step};
use super::websocket::Negotiated;
use super::websocket::compression::{self, CompressionTraffic};
use crate::close::CloseReason;
use crate::limit::Limit;
use crate::options::Options;
use crate::payload::Payload;
use std::cell::RefCell;
use std::rc::Rc;
use vespiary_port::{FilePart, KeptBytes};
use vespiary_wire::http::Request;
use vespiary_wire::websocket::close::Code;
use vespiary_wire::websocket::frame::{Kind, Opcode};

/// The receiver of what a session finds in its input.
pub(crate) trait Sink {
    /// The bytes of a message.
    type Payload: Payload;

    /// The endpoint's options at the moment.
    fn options(&self) -> Rc<Options>;
    /// Whether the connection was opened by this end.
    fn is_client(&self) -> bool;
    /// What the opening handshake agreed on.
    fn negotiated(&self) -> &Negotiated;

    /// Whether input must wait: reading is paused, too much waits to be written, or the work
    /// allowed in one turn is done.
    fn is_blocked(&self) -> bool;
    /// Whether the connection is over, so that the rest of the input is dropped.
    fn is_aborted(&self) -> bool;
    /// Whether messages may still be delivered: the connection is open, and the host takes them.
    fn may_deliver(&self) -> bool;
    /// Whether the peer's close frame has come, or is no longer awaited.
    fn is_close_received(&self) -> bool;
    /// Charge the work of so many frames to the budget of this turn.
    fn charge(&self, frames: u16);

    /// Deliver a whole binary message, or a piece, line or packet of a stream.
    fn binary(&self, payload: Self::Payload);
    /// Deliver a whole text message.
    fn text(&self, text: &str);
    /// Deliver a part of a message.
    fn part(&self, kind: Kind, payload: Self::Payload, last: bool);

    /// The peer sent a close frame. Messages end here; the sink answers it.
    fn close_frame(&self, code: Code, text: &str);
    /// The peer answered a ping.
    fn pong(&self, payload: &[u8]);
    /// Bytes of a control frame that answers the peer's are to be sent.
    fn send_control(&self, opcode: Opcode, payload: &[u8]);
    /// Bytes that wait to be written.
    fn queued_bytes(&self) -> usize;
    /// A limit was reached.
    fn limit_reached(&self, limit: Limit);

    /// A buffer for a text message on its way, shared by all sessions of the thread.
    fn scratch(&self) -> &RefCell<Vec<u8>>;
    /// Idle compressors, inflaters and their buffers, shared by all sessions of the thread.
    fn compression_pool(&self) -> &RefCell<compression::Pool>;
    /// Count what compression did, for the connection's endpoint.
    fn count_compression(&self, change: impl Fn(&mut CompressionTraffic));
    /// Bytes of memory that compression holds: what it was, and what it is now.
    fn account_compression(&self, before: u64, now: u64);
}

/// What a session that begins with HTTP reports besides.
pub(crate) trait HttpSink: Sink {
    /// The date, as a response has it.
    fn date(&self) -> Rc<str>;
    /// Fill `bytes` with unpredictable ones.
    fn random(&self, bytes: &mut [u8]);
    /// Queue bytes of a head or a body.
    fn write(&self, bytes: &[u8]);
    /// Queue several pieces, one behind the other.
    fn write_parts(&self, parts: &[&[u8]]);
    /// Queue bytes without a copy: `kept` holds them until the kernel has them.
    fn write_kept(&self, kept: Rc<dyn KeptBytes>);
    /// Queue a part of a file, which the kernel copies.
    fn write_file(&self, part: FilePart);
    /// Count a message that is not what the protocol allows.
    fn count_protocol_error(&self);

    /// The first byte of a request has come.
    fn request_begun(&self);
    /// Take the client that a trusted proxy names in its request for the peer; the limit that
    /// refuses it, if one does.
    fn client_named(&self, request: &Request) -> Result<(), Limit>;
    /// Ask the host which endpoint serves a request; its options, `None` when there is none.
    fn route(&self, request: &Request) -> Option<Rc<Options>>;
    /// The options of the endpoint that serves the request in progress.
    fn request_options(&self) -> Rc<Options>;
    /// The request is accepted: the connection belongs to the endpoint that serves it.
    fn settle_route(&self);
    /// Ask the host for its answer to a request with this body.
    fn request(&self, request: Request, body: Vec<u8>) -> Answer;
    /// Take the step that was put off while the host was asked, if it was only one.
    fn take_only_step(&self) -> Option<Step>;
    /// A piece of the body of the current request has come.
    fn body_piece(&self, data: &[u8]);
    /// That body is complete.
    fn body_ended(&self);
    /// That body will not be complete: the request is refused for this reason.
    fn body_failed(&self, reason: &CloseReason);
    /// That body comes fast enough.
    fn body_progressed(&self);
    /// The head of a response is queued. Whether a part of the request's body is to come.
    fn response_begun(&self, has_unread_body: bool);
    /// Whether an answer of the host's can still be sent.
    fn awaits_answer(&self) -> bool;
    /// Whether the peer has finished sending: no further request will come.
    fn has_peer_ended(&self) -> bool;
    /// The host's answer cannot be sent.
    fn fault(&self, text: &str);
    /// The request is refused, with this status: what was wrong, and what the operator can do.
    fn denied(&self, status: u16, text: &str, advice: &str);
    /// Count an answer with this status.
    fn count_answer(&self, status: u16);
    /// The answer is queued, and the connection waits for its next request.
    fn request_over(&self);

    /// A proxy has opened the way to the server, and the layers of that way begin. Whether they are
    /// ready; the session begins later if not.
    fn enter_tunnel(&self) -> bool;
    /// The server accepted the handshake with these header fields.
    fn accepted(&self, headers: Vec<(String, String)>);
    /// All bytes behind what waits to be sent are compressed, in both directions.
    fn begin_deflate_stream(&self);
    /// Messages can be exchanged from here on.
    fn opened(&self);
    /// Close for this reason once what waits is written.
    fn finish(&self, reason: CloseReason);
    /// End at once for this reason.
    fn abort(&self, reason: CloseReason);
}

/// What parsing comes to: everything taken or put aside, or the reason why the connection fails.
pub(crate) type Outcome = Result<(), CloseReason>;
