//! What the host of a test was called with.

use vespiary_engine::port::Token;
use vespiary_engine::{CloseReason, Event, Kind};

/// One call of the host.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A request, with its target.
    Request(Token, String),
    /// The body of a request that has one.
    Body(Token, Vec<u8>),
    /// A piece of the body of a request that is handed over as it comes.
    BodyPiece(Token, Vec<u8>),
    /// The end of such a body.
    BodyEnded(Token),
    /// Such a body was refused.
    BodyFailed(Token, CloseReason),
    /// The client has finished sending behind its request.
    RequesterFinished(Token),
    /// The write queue has drained while a response is in progress.
    Room(Token),
    /// A connection opened.
    Opened(Token),
    /// A message.
    Message(Token, Kind, Vec<u8>),
    /// A part of a message, and whether it was the last.
    Part(Token, Kind, Vec<u8>, bool),
    /// The write queue has drained.
    Drained(Token),
    /// The peer finished sending.
    Ended(Token),
    /// An opened connection is gone.
    Closed(Token, CloseReason),
    /// A client connection was not opened.
    Refused(Token, CloseReason),
    /// The peer broke a rule.
    RuleBroken(Token, String),
    /// An answer could not be sent.
    Fault(Token, String),
    /// A limit or an error of accepting.
    Event(Event),
}
