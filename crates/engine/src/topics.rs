//! Topics: a message is sent to all subscribers, and encoded once for each of their framings.
//!
//! Servers of one loop share an engine, and not their topics: each topic belongs to a space, and an
//! endpoint's connections subscribe in the space that its host has given it.

use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::host::{Host, Kind};
use crate::limit::Limit;
use crate::options::Framing;
use crate::patterns::is_pattern;
use crate::retained::{Kept, RetainLimits};
use crate::send_error::SendError;
use crate::session::websocket::compression::{Sharing, encode_alone};
use crate::session::wire_form::{Label, WireForm};
use crate::subscriptions::{Change, Naming, TopicSpace, TopicTraffic};
use std::rc::Rc;
use std::sync::Arc;
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
    /// Whether it is kept for those who subscribe later, instead of the topic's earlier one.
    pub retain: bool,
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
    /// it already did. A retained message of the topic is sent at once.
    pub fn subscribe(self: &Rc<Self>, topic: &str) -> Result<bool, SendError> {
        self.subscribe_by(Naming::Exact, topic)
    }

    /// The same for every topic that a pattern matches: `+` stands for one level, and `#`, at the
    /// end, for any number of them. Of a message that several subscriptions match, it gets one.
    pub fn subscribe_pattern(self: &Rc<Self>, pattern: &str) -> Result<bool, SendError> {
        if !is_pattern(pattern) {
            return Err(SendError::NotAPattern);
        }
        self.subscribe_by(Naming::Pattern, pattern)
    }

    fn subscribe_by(self: &Rc<Self>, naming: Naming, name: &str) -> Result<bool, SendError> {
        if !self.is_open() {
            return Err(self.send_refusal());
        }
        let Some(space) = self.endpoint().topics.get() else {
            return Err(SendError::NoTopics);
        };
        if self.engine.topics.borrow().has(self.token, naming, name) {
            return Ok(false);
        }
        self.may_subscribe(name)?;
        let (name, kept) = {
            let mut topics = self.engine.topics.borrow_mut();
            let subscriber = self.clone();
            let name = topics.subscribe(space, self.token, subscriber, naming, name);
            let kept = topics.retained(space).matching(naming, &name);
            (name, kept)
        };
        let endpoint = self.endpoint();
        endpoint.subscriptions.set(endpoint.subscriptions.get() + 1);
        self.engine.subscription_changed(self, name, true);
        for Kept {
            kind,
            payload,
            compress,
        } in kept
        {
            match self.send(kind, &payload, compress) {
                // What its policy dropped is counted there.
                Ok(_) => {}
                Err(SendError::OutOfMemory) => return Err(SendError::OutOfMemory),
                Err(error) => self.publication_lost(error),
            }
        }
        Ok(true)
    }

    fn may_subscribe(&self, name: &str) -> Result<(), SendError> {
        let options = self.endpoint().options();
        let limits = &options.limits;
        let count = self.engine.topics.borrow().count(self.token);
        let most = limits.topics_per_connection_max;
        let in_all = limits.subscriptions_max;
        let (limit, error) = if name.len() > limits.topic_bytes_max {
            (Limit::TopicBytes, SendError::TopicTooLong)
        } else if most.is_some_and(|most| count >= most as usize) {
            (Limit::TopicsPerConnection, SendError::TooManyTopics)
        } else if in_all.is_some_and(|most| self.endpoint().subscriptions.get() >= most) {
            (Limit::Subscriptions, SendError::TooManySubscriptions)
        } else {
            return Ok(());
        };
        self.engine.report_soon(self.endpoint(), limit);
        Err(error)
    }

    /// No longer receive what is published to `topic`; false when it did not, or only by a pattern.
    pub fn unsubscribe(self: &Rc<Self>, topic: &str) -> bool {
        self.unsubscribe_by(Naming::Exact, topic)
    }

    /// No longer receive what a pattern matches; false when it was not subscribed by that.
    pub fn unsubscribe_pattern(self: &Rc<Self>, pattern: &str) -> bool {
        self.unsubscribe_by(Naming::Pattern, pattern)
    }

    fn unsubscribe_by(self: &Rc<Self>, naming: Naming, name: &str) -> bool {
        let endpoint = self.endpoint();
        let Some(space) = endpoint.topics.get() else {
            return false;
        };
        let left = {
            let mut topics = self.engine.topics.borrow_mut();
            topics.unsubscribe(space, self.token, naming, name)
        };
        let Some(left) = left else {
            return false;
        };
        endpoint.subscriptions.set(endpoint.subscriptions.get() - 1);
        self.engine.subscription_changed(self, left, false);
        true
    }
}

impl<H: Host> Engine<H> {
    /// A space for topics that no endpoint has yet; see [`Endpoint::topics`](crate::Endpoint).
    pub fn topic_space(&self) -> TopicSpace {
        self.topics.borrow_mut().new_space()
    }

    /// Bound what a space retains from now on.
    pub fn limit_retained(&self, space: TopicSpace, limits: RetainLimits) {
        self.topics.borrow_mut().retained(space).limits = limits;
    }

    /// Forget a space that is no longer used, and what it retains.
    pub fn end_topic_space(&self, space: TopicSpace) {
        self.topics.borrow_mut().end_space(space);
    }

    /// How many connections get what is published to `topic`.
    pub fn subscribers(&self, space: TopicSpace, topic: &str) -> usize {
        self.subscribed(space, topic).len()
    }

    /// The connections that get what is published to `topic`, the oldest first.
    pub fn subscribed(&self, space: TopicSpace, topic: &str) -> Vec<Rc<Connection<H>>> {
        self.topics.borrow().receivers(space, topic)
    }

    /// What happened in a space of topics.
    pub fn topic_traffic(&self, space: TopicSpace) -> TopicTraffic {
        self.topics.borrow().traffic(space)
    }

    /// The same for each space in which anything has happened.
    pub fn topic_traffics(&self) -> Vec<(TopicSpace, TopicTraffic)> {
        let topics = self.topics.borrow();
        let spaces = topics.spaces();
        spaces.map(|it| (it, topics.traffic(it))).collect()
    }

    /// The message that a topic retains.
    pub fn retained(&self, space: TopicSpace, topic: &str) -> Option<Kept> {
        self.topics.borrow_mut().retained(space).get(topic)
    }

    /// Retain no message of a topic any more; whether there was one.
    pub fn discard_retained(&self, space: TopicSpace, topic: &str) -> bool {
        self.topics.borrow_mut().retained(space).discard(topic)
    }

    /// Report a change when no callback runs, to a host that wants it.
    fn subscription_changed(
        &self,
        connection: &Rc<Connection<H>>,
        name: Arc<str>,
        is_subscribed: bool,
    ) {
        if !self.host.watches_subscriptions(connection) {
            return;
        }
        let change = Change {
            subscriber: connection.clone(),
            name,
            is_subscribed,
        };
        let mut changes = self.changes.borrow_mut();
        changes.push(change);
        let is_first = changes.len() == 1;
        drop(changes);
        if is_first {
            self.host.turn_wanted();
        }
    }

    /// Report the changes of subscriptions so far; how many there were.
    #[inline]
    pub(crate) fn report_subscriptions(&self) -> usize {
        if self.changes.borrow().is_empty() {
            return 0;
        }
        self.report_changes()
    }

    #[cold]
    fn report_changes(&self) -> usize {
        let changes = self.changes.take();
        let count = changes.len();
        for change in changes {
            let Change {
                subscriber, name, ..
            } = change;
            self.host
                .subscription(&subscriber, &name, change.is_subscribed);
        }
        count
    }

    /// A connection has ended, and with it its subscriptions.
    pub(crate) fn end_subscriptions(&self, connection: &Rc<Connection<H>>) {
        let endpoint = connection.endpoint();
        let Some(space) = endpoint.topics.get() else {
            return;
        };
        // Changes that were reported earlier come first.
        self.report_subscriptions();
        let left = self.topics.borrow_mut().forget(space, connection.token);
        let count = endpoint.subscriptions.get();
        endpoint.subscriptions.set(count - left.len() as u32);
        if self.host.watches_subscriptions(connection) {
            for name in left {
                self.host.subscription(connection, &name, false);
            }
        }
    }

    /// Send a message to everybody subscribed to `topic`; how many took it.
    ///
    /// A subscriber over its write limit is treated as its endpoint's policy says, and nobody waits
    /// for anybody else. The message is encoded once for each framing among the subscribers, and
    /// compressed once for each shape. Where a connection takes its context over, a compressed
    /// message is its own.
    ///
    /// An error where the framing of a subscriber cannot carry the message, or it is to be retained
    /// and a limit forbids that: nobody gets it. Also where there is no memory for it: some
    /// subscribers may have got it.
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
            retain,
        } = options;
        let subscribers = self.topics.borrow().receivers(space, topic);
        check_framings(&subscribers, kind, payload)?;
        if retain {
            let mut topics = self.topics.borrow_mut();
            topics.retained(space).put(topic, kind, payload, compress)?;
        }
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
        self.topics.borrow_mut().count_published(space, taken);
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
