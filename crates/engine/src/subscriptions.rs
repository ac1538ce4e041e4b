//! Who subscribed to which topic.
//!
//! It knows subscribers by their tokens, and nothing else of them; [`crate::topics`] publishes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use vespiary_port::Token;

/// Topics with a name of their own each; those of other spaces may have the same names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TopicSpace(pub u64);

/// In the order of their tokens, so that publishing does the same each time it is replayed.
pub(crate) type Subscribers<S> = BTreeMap<Token, S>;

/// Who subscribed to what. Subscribing and its end take the same time however many topics a
/// connection has.
pub(crate) struct Subscriptions<S> {
    /// Without a space or a topic that nobody is subscribed to.
    spaces: HashMap<TopicSpace, HashMap<Arc<str>, Subscribers<S>>>,
    /// The topics of each connection that has any.
    names: HashMap<Token, HashSet<Arc<str>>>,
    latest: TopicSpace,
}

impl<S> Default for Subscriptions<S> {
    fn default() -> Self {
        Self {
            spaces: HashMap::new(),
            names: HashMap::new(),
            latest: TopicSpace::default(),
        }
    }
}

impl<S> Subscriptions<S> {
    /// A space that no topic is in yet.
    pub(crate) fn new_space(&mut self) -> TopicSpace {
        self.latest.0 += 1;
        self.latest
    }

    pub(crate) fn count(&self, token: Token) -> usize {
        self.names.get(&token).map_or(0, HashSet::len)
    }

    pub(crate) fn has(&self, token: Token, topic: &str) -> bool {
        let topics = self.names.get(&token);
        topics.is_some_and(|topics| topics.contains(topic))
    }

    pub(crate) fn subscribers(&self, space: TopicSpace, topic: &str) -> Option<&Subscribers<S>> {
        self.spaces.get(&space)?.get(topic)
    }

    pub(crate) fn subscribe(
        &mut self,
        space: TopicSpace,
        token: Token,
        subscriber: S,
        topic: &str,
    ) {
        let space = self.spaces.entry(space).or_default();
        let name = match space.get_key_value(topic) {
            Some((name, _)) => name.clone(),
            None => Arc::from(topic),
        };
        let subscribers = space.entry(name.clone()).or_default();
        subscribers.insert(token, subscriber);
        let topics = self.names.entry(token).or_default();
        topics.insert(name);
    }

    pub(crate) fn unsubscribe(&mut self, space: TopicSpace, token: Token, topic: &str) -> bool {
        let Some(topics) = self.names.get_mut(&token) else {
            return false;
        };
        if !topics.remove(topic) {
            return false;
        }
        if topics.is_empty() {
            self.names.remove(&token);
        }
        self.leave(space, token, topic);
        true
    }

    fn leave(&mut self, space: TopicSpace, token: Token, topic: &str) {
        let Some(topics) = self.spaces.get_mut(&space) else {
            return;
        };
        if let Some(subscribers) = topics.get_mut(topic) {
            subscribers.remove(&token);
            if subscribers.is_empty() {
                topics.remove(topic);
            }
        }
        if topics.is_empty() {
            self.spaces.remove(&space);
        }
    }

    /// Forget a connection that is gone.
    pub(crate) fn forget(&mut self, space: TopicSpace, token: Token) {
        for topic in self.names.remove(&token).unwrap_or_default() {
            self.leave(space, token, &topic);
        }
    }
}
