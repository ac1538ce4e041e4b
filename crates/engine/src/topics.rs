//! Topics: a message for everybody who subscribed, encoded once for each framing among them.

use crate::connection::Connection;
use crate::endpoint::add;
use crate::engine::Engine;
use crate::host::{Host, Kind};
use crate::options::Framing;
use crate::send::SendError;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use vespiary_port::Token;
use vespiary_wire::framing::length;
use vespiary_wire::websocket::frame;

/// Who subscribed to what.
pub(crate) struct Topics<H: Host> {
    /// In the order of their tokens, so that publishing does the same each time it is replayed.
    subscribers: HashMap<String, BTreeMap<Token, Rc<Connection<H>>>>,
    topics: HashMap<Token, Vec<String>>,
}

impl<H: Host> Default for Topics<H> {
    fn default() -> Self {
        Self {
            subscribers: HashMap::new(),
            topics: HashMap::new(),
        }
    }
}

impl<H: Host> Topics<H> {
    fn subscribe(&mut self, connection: &Rc<Connection<H>>, topic: &str) -> bool {
        let subscribers = self.subscribers.entry(topic.to_owned()).or_default();
        if subscribers
            .insert(connection.token, connection.clone())
            .is_some()
        {
            return false;
        }
        self.topics
            .entry(connection.token)
            .or_default()
            .push(topic.to_owned());
        true
    }

    fn unsubscribe(&mut self, token: Token, topic: &str) -> bool {
        let Some(subscribers) = self.subscribers.get_mut(topic) else {
            return false;
        };
        if subscribers.remove(&token).is_none() {
            return false;
        }
        if subscribers.is_empty() {
            self.subscribers.remove(topic);
        }
        if let Some(topics) = self.topics.get_mut(&token) {
            topics.retain(|other| other != topic);
            if topics.is_empty() {
                self.topics.remove(&token);
            }
        }
        true
    }

    /// Forget a connection that is gone.
    pub(crate) fn forget(&mut self, token: Token) {
        for topic in self.topics.remove(&token).unwrap_or_default() {
            if let Some(subscribers) = self.subscribers.get_mut(&topic) {
                subscribers.remove(&token);
                if subscribers.is_empty() {
                    self.subscribers.remove(&topic);
                }
            }
        }
    }
}

fn encode(framing: &Framing, kind: Kind, payload: &[u8]) -> Result<Arc<[u8]>, SendError> {
    let mut bytes = Vec::with_capacity(payload.len() + 16);
    match framing {
        Framing::Raw | Framing::Http => bytes.extend_from_slice(payload),
        Framing::Line { ending } => {
            bytes.extend_from_slice(payload);
            bytes.extend_from_slice(ending);
        }
        Framing::Length(format) => {
            length::append(&mut bytes, format, payload).map_err(|_| SendError::TooLong)?;
        }
        Framing::WebSocket => {
            frame::append(&mut bytes, true, false, kind.into(), payload, None);
        }
    }
    Ok(bytes.into())
}

impl<H: Host> Connection<H> {
    /// Receive what is published to `topic` from now on; false when it already did.
    pub fn subscribe(self: &Rc<Self>, topic: &str) -> Result<bool, SendError> {
        if !self.is_open() {
            return Err(SendError::Closed);
        }
        Ok(self.engine.topics.borrow_mut().subscribe(self, topic))
    }

    /// No longer receive what is published to `topic`; false when it did not.
    pub fn unsubscribe(&self, topic: &str) -> bool {
        self.engine
            .topics
            .borrow_mut()
            .unsubscribe(self.token, topic)
    }
}

impl<H: Host> Engine<H> {
    /// How many connections are subscribed to `topic`.
    pub fn subscribers(&self, topic: &str) -> usize {
        self.topics
            .borrow()
            .subscribers
            .get(topic)
            .map_or(0, BTreeMap::len)
    }

    /// Send a message to everybody subscribed to `topic`, except `but`; how many took it. Who is
    /// over its write limit is met by its endpoint's policy, and nobody waits for anybody else.
    pub fn publish(&self, topic: &str, kind: Kind, payload: &[u8], but: Option<Token>) -> usize {
        let subscribers: Vec<_> = match self.topics.borrow().subscribers.get(topic) {
            Some(subscribers) => subscribers.values().cloned().collect(),
            None => return 0,
        };
        let mut encoded: Vec<(Framing, Arc<[u8]>)> = Vec::new();
        let mut taken = 0;
        for connection in subscribers {
            if but == Some(connection.token) {
                continue;
            }
            let options = connection.endpoint.options();
            // A client's frames are masked, each with a key of its own.
            let sent = if connection.client {
                connection.send(kind, payload)
            } else if let Some((_, bytes)) = encoded.iter().find(|it| it.0 == options.framing) {
                connection.send_encoded(bytes)
            } else {
                encode(&options.framing, kind, payload).and_then(|bytes| {
                    encoded.push((options.framing.clone(), bytes.clone()));
                    connection.send_encoded(&bytes)
                })
            };
            match sent {
                Ok(()) => taken += 1,
                Err(_) => add(&connection.endpoint.counters.dropped, 1),
            }
        }
        taken
    }
}
