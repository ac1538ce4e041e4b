//! Topics: a message for everybody who subscribed, encoded once for each framing among them.
//!
//! Servers of one loop share an engine, and not their topics: each topic belongs to a space, and an
//! endpoint's connections subscribe in the space that its host has given it.

use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::host::{Host, Kind};
use crate::limit::Limit;
use crate::options::Framing;
use crate::send_error::SendError;
use crate::session::websocket::compression::{Sharing, encode_alone};
use crate::session::wire_form::{Label, WireForm};
use crate::subscriptions::TopicSpace;
use std::collections::BTreeMap;
use std::rc::Rc;
use vespiary_port::Token;

/// From how many subscribers on a message is sent while they are walked, instead of with everything
/// else at the round's end: then the first of them need not wait for the last. Fewer are reached
/// soon enough, and several messages of a round leave together.
const SENT_WHILE_WALKING: usize = 64;

/// Where a message is published, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Publish {
    /// The space of the topic.
    pub space: TopicSpace,
    /// Whether it is compressed, as for [`Connection::send`].
    pub compress: Option<bool>,
    /// Who does not get it.
    pub but: Option<Token>,
}

/// A message in its form on the wire, as everybody of a framing and a shape gets it.
struct Encoded {
    framing: Framing,
    sharing: Sharing,
    bytes: Rc<Vec<u8>>,
    /// What its payload takes, where it is compressed.
    compressed: usize,
}

/// Check that the framing of every subscriber can carry a message.
fn check_framings<H: Host>(
    subscribers: &[Rc<Connection<H>>],
    kind: Kind,
    payload: &[u8],
) -> Result<(), SendError> {
    let mut checked: Vec<*const Endpoint<H>> = Vec::new();
    for connection in subscribers {
        let endpoint = connection.endpoint();
        let this = Rc::as_ptr(endpoint);
        if checked.last() != Some(&this) && !checked.contains(&this) {
            let options = endpoint.options.borrow();
            WireForm::new(&options.framing, Label::whole(kind), payload, || None)?;
            checked.push(this);
        }
    }
    Ok(())
}

impl<H: Host> Connection<H> {
    /// Receive what is published to `topic`, in the space of its endpoint, from now on; false when
    /// it already did.
    pub fn subscribe(self: &Rc<Self>, topic: &str) -> Result<bool, SendError> {
        if !self.is_open() {
            return Err(self.send_refusal());
        }
        let Some(space) = self.endpoint().topics.get() else {
            return Err(SendError::NoTopics);
        };
        if self.engine.topics.borrow().has(self.token, topic) {
            return Ok(false);
        }
        self.may_subscribe(topic)?;
        let mut topics = self.engine.topics.borrow_mut();
        topics.subscribe(space, self.token, self.clone(), topic);
        Ok(true)
    }

    fn may_subscribe(&self, topic: &str) -> Result<(), SendError> {
        let options = self.endpoint().options();
        let limits = &options.limits;
        if topic.len() > limits.topic_bytes_max {
            self.engine.report_soon(self.endpoint(), Limit::TopicBytes);
            return Err(SendError::TopicTooLong);
        }
        let count = self.engine.topics.borrow().count(self.token);
        if limits
            .topics_per_connection_max
            .is_some_and(|most| count >= most as usize)
        {
            self.engine
                .report_soon(self.endpoint(), Limit::TopicsPerConnection);
            return Err(SendError::TooManyTopics);
        }
        Ok(())
    }

    /// No longer receive what is published to `topic`; false when it did not.
    pub fn unsubscribe(&self, topic: &str) -> bool {
        let Some(space) = self.endpoint().topics.get() else {
            return false;
        };
        let mut topics = self.engine.topics.borrow_mut();
        topics.unsubscribe(space, self.token, topic)
    }
}

impl<H: Host> Engine<H> {
    /// A space for topics that no endpoint has yet; see [`Endpoint::topics`](crate::Endpoint).
    pub fn topic_space(&self) -> TopicSpace {
        self.topics.borrow_mut().new_space()
    }

    /// How many connections are subscribed to `topic`.
    pub fn subscribers(&self, space: TopicSpace, topic: &str) -> usize {
        let topics = self.topics.borrow();
        topics.subscribers(space, topic).map_or(0, BTreeMap::len)
    }

    /// Send a message to everybody subscribed to `topic`; how many took it.
    ///
    /// A subscriber over its write limit is treated as its endpoint's policy says, and nobody waits
    /// for anybody else. The message is encoded once for each framing among the subscribers, and
    /// compressed once for each shape. Where a connection takes its context over, a compressed
    /// message is its own.
    ///
    /// An error where the framing of a subscriber cannot carry the message: nobody gets it. Also
    /// where there is no memory for it: some subscribers may have got it.
    pub fn publish(
        self: &Rc<Self>,
        topic: &str,
        kind: Kind,
        payload: &[u8],
        options: Publish,
    ) -> Result<usize, SendError> {
        let Publish {
            space,
            compress,
            but,
        } = options;
        let subscribers: Vec<_> = match self.topics.borrow().subscribers(space, topic) {
            Some(subscribers) => subscribers.values().cloned().collect(),
            None => return Ok(0),
        };
        check_framings(&subscribers, kind, payload)?;
        let is_sent_at_once = subscribers.len() >= SENT_WHILE_WALKING;
        let mut encoded: Vec<Encoded> = Vec::new();
        let mut taken = 0;
        for connection in subscribers {
            if but == Some(connection.token) {
                continue;
            }
            let sharing = connection.sharing(payload.len(), compress);
            // A client's frames are masked, each with a key of its own.
            let sent = if connection.client || sharing == Sharing::Alone {
                connection.send(kind, payload, compress)
            } else {
                self.encoded(&mut encoded, &connection, sharing, kind, payload)
                    .and_then(|it| connection.send_shared(it, payload.len()))
            };
            match sent {
                Ok(true) => {
                    taken += 1;
                    if is_sent_at_once {
                        self.depart_at_once(&connection);
                    }
                }
                // Dropped by the subscriber's policy, and counted there.
                Ok(false) => {}
                Err(SendError::OutOfMemory) => return Err(SendError::OutOfMemory),
                Err(error) => connection.publication_lost(error),
            }
        }
        Ok(taken)
    }

    /// The form of a message for this connection, made when nobody before it had the same.
    fn encoded<'a>(
        &self,
        encoded: &'a mut Vec<Encoded>,
        connection: &Connection<H>,
        sharing: Sharing,
        kind: Kind,
        payload: &[u8],
    ) -> Result<&'a Encoded, SendError> {
        let framing = &connection.endpoint().options().framing;
        let known = |it: &Encoded| it.framing == *framing && it.sharing == sharing;
        if let Some(index) = encoded.iter().position(known) {
            return Ok(&encoded[index]);
        }
        let (bytes, compressed) = if let Sharing::Compressed(shape, insists) = sharing {
            let mut pool = self.compression.borrow_mut();
            encode_alone(&mut pool, shape, kind, payload, insists).ok_or(SendError::OutOfMemory)?
        } else {
            let form = WireForm::new(framing, Label::whole(kind), payload, || None)?;
            (form.encode(payload).ok_or(SendError::OutOfMemory)?, 0)
        };
        encoded.push(Encoded {
            framing: framing.clone(),
            sharing,
            bytes: Rc::new(bytes),
            compressed,
        });
        Ok(&encoded[encoded.len() - 1])
    }
}

impl<H: Host> Connection<H> {
    fn sharing(&self, length: usize, compress: Option<bool>) -> Sharing {
        let deflate = self.negotiated.deflate.get();
        deflate.map_or(Sharing::Plain, |it| it.shared_shape(length, compress))
    }

    /// A publication could not be sent to this subscriber.
    fn publication_lost(self: &Rc<Self>, error: SendError) {
        self.count_dropped(1);
        if error == SendError::QueueFull && self.endpoint().options().framing == Framing::Raw {
            self.end_broken_stream();
        }
    }

    fn send_shared(self: &Rc<Self>, encoded: &Encoded, length: usize) -> Result<bool, SendError> {
        let is_taken = self.send_encoded(&encoded.bytes)?;
        if is_taken
            && encoded.compressed > 0
            && let Some(deflate) = self.negotiated.deflate.get()
        {
            deflate.count_sent(self, length, encoded.compressed, true);
        }
        Ok(is_taken)
    }
}
