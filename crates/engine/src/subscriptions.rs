//! Who subscribed to which topic, by its name or by a pattern.
//!
//! It knows subscribers by their tokens, and nothing else of them; [`crate::topics`] publishes.

use crate::patterns::Patterns;
use crate::retained::Retained;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use vespiary_port::Token;

/// Topics with a name of their own each; those of other spaces may have the same names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TopicSpace(pub u64);

/// In the order of their tokens, so that publishing does the same each time it is replayed.
pub(crate) type Subscribers<S> = BTreeMap<Token, S>;

/// How a subscription names its topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// One topic by its name.
    Exact,
    /// Every topic that a pattern matches: see [`crate::patterns`].
    Pattern,
}

/// What happened in a space of topics, and what is in it now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicTraffic {
    /// Topics with a subscriber by name, now.
    pub topics: usize,
    /// Subscriptions by pattern, now.
    pub patterns: usize,
    /// Messages that are retained, now.
    pub retained_messages: usize,
    /// Bytes of these and of their topics' names.
    pub retained_bytes: usize,
    /// Messages that were published.
    pub published: u64,
    /// How often a subscriber took one.
    pub deliveries: u64,
    /// Messages that were not retained because of a limit.
    pub retained_refused: u64,
}

/// A subscriber has subscribed, or no longer is subscribed.
pub(crate) struct Change<S> {
    pub(crate) subscriber: S,
    pub(crate) name: Arc<str>,
    pub(crate) is_subscribed: bool,
}

/// How many entries an empty table may have room for.
const KEPT_ROOM: usize = 1024;

/// Keep no room for many entries where there are none.
pub(crate) fn give_back_room<K, V>(table: &mut HashMap<K, V>) {
    if table.is_empty() && table.capacity() > KEPT_ROOM {
        *table = HashMap::new();
    }
}

/// The topics of one space.
struct Space<S> {
    /// Without a topic that nobody is subscribed to.
    topics: HashMap<Arc<str>, Subscribers<S>>,
    patterns: Patterns<S>,
    retained: Retained,
    published: u64,
    deliveries: u64,
}

impl<S> Default for Space<S> {
    fn default() -> Self {
        Self {
            topics: HashMap::new(),
            patterns: Patterns::default(),
            retained: Retained::default(),
            published: 0,
            deliveries: 0,
        }
    }
}

impl<S> Space<S> {
    fn leave(&mut self, token: Token, naming: Naming, name: &str) {
        if naming == Naming::Pattern {
            self.patterns.remove(name, token);
        } else if let Some(subscribers) = self.topics.get_mut(name) {
            subscribers.remove(&token);
            if subscribers.is_empty() {
                self.topics.remove(name);
                give_back_room(&mut self.topics);
            }
        }
    }
}

/// What a connection is subscribed to.
#[derive(Default)]
struct Names {
    topics: HashSet<Arc<str>>,
    patterns: HashSet<Arc<str>>,
}

impl Names {
    fn of(&self, naming: Naming) -> &HashSet<Arc<str>> {
        match naming {
            Naming::Exact => &self.topics,
            Naming::Pattern => &self.patterns,
        }
    }

    fn of_mut(&mut self, naming: Naming) -> &mut HashSet<Arc<str>> {
        match naming {
            Naming::Exact => &mut self.topics,
            Naming::Pattern => &mut self.patterns,
        }
    }

    fn len(&self) -> usize {
        self.topics.len() + self.patterns.len()
    }
}

/// Who subscribed to what. Subscribing and its end take the same time however many topics a
/// connection has.
pub(crate) struct Subscriptions<S> {
    spaces: HashMap<TopicSpace, Space<S>>,
    /// The topics of each connection that has any.
    names: HashMap<Token, Names>,
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

    /// The spaces in which something has happened.
    pub(crate) fn spaces(&self) -> impl Iterator<Item = TopicSpace> {
        self.spaces.keys().copied()
    }

    /// Forget a space: what is retained there, and who is subscribed.
    pub(crate) fn end_space(&mut self, space: TopicSpace) {
        self.spaces.remove(&space);
    }

    pub(crate) fn count(&self, token: Token) -> usize {
        self.names.get(&token).map_or(0, Names::len)
    }

    pub(crate) fn has(&self, token: Token, naming: Naming, name: &str) -> bool {
        let names = self.names.get(&token);
        names.is_some_and(|names| names.of(naming).contains(name))
    }

    pub(crate) fn retained(&mut self, space: TopicSpace) -> &mut Retained {
        &mut self.spaces.entry(space).or_default().retained
    }

    pub(crate) fn count_published(&mut self, space: TopicSpace, deliveries: usize) {
        let space = self.spaces.entry(space).or_default();
        space.published += 1;
        space.deliveries += deliveries as u64;
    }

    pub(crate) fn traffic(&self, space: TopicSpace) -> TopicTraffic {
        let Some(space) = self.spaces.get(&space) else {
            return TopicTraffic::default();
        };
        TopicTraffic {
            topics: space.topics.len(),
            patterns: space.patterns.len(),
            retained_messages: space.retained.len(),
            retained_bytes: space.retained.bytes(),
            published: space.published,
            deliveries: space.deliveries,
            retained_refused: space.retained.refused(),
        }
    }

    /// Subscribe; returns the name as it is kept.
    pub(crate) fn subscribe(
        &mut self,
        space: TopicSpace,
        token: Token,
        subscriber: S,
        naming: Naming,
        name: &str,
    ) -> Arc<str> {
        let space = self.spaces.entry(space).or_default();
        let kept = match space.topics.get_key_value(name) {
            Some((kept, _)) => kept.clone(),
            None => Arc::from(name),
        };
        match naming {
            Naming::Pattern => space.patterns.insert(name, token, subscriber),
            Naming::Exact => {
                let subscribers = space.topics.entry(kept.clone()).or_default();
                subscribers.insert(token, subscriber);
            }
        }
        let names = self.names.entry(token).or_default();
        names.of_mut(naming).insert(kept.clone());
        kept
    }

    pub(crate) fn unsubscribe(
        &mut self,
        space: TopicSpace,
        token: Token,
        naming: Naming,
        name: &str,
    ) -> Option<Arc<str>> {
        let names = self.names.get_mut(&token)?;
        let kept = names.of_mut(naming).take(name)?;
        if names.len() == 0 {
            self.names.remove(&token);
            give_back_room(&mut self.names);
        }
        if let Some(space) = self.spaces.get_mut(&space) {
            space.leave(token, naming, name);
        }
        Some(kept)
    }

    /// Forget a connection that is gone. Returns what it was subscribed to, in the order of the
    /// names.
    pub(crate) fn forget(&mut self, space: TopicSpace, token: Token) -> Vec<Arc<str>> {
        let Some(Names { topics, patterns }) = self.names.remove(&token) else {
            return Vec::new();
        };
        give_back_room(&mut self.names);
        if let Some(space) = self.spaces.get_mut(&space) {
            for (naming, names) in [(Naming::Exact, &topics), (Naming::Pattern, &patterns)] {
                for name in names {
                    space.leave(token, naming, name);
                }
            }
        }
        let mut left: Vec<_> = topics.into_iter().chain(patterns).collect();
        left.sort_unstable();
        left
    }
}

impl<S: Clone> Subscriptions<S> {
    /// Whom a message on `topic` is for, each once, in the order of their tokens.
    pub(crate) fn receivers(&self, space: TopicSpace, topic: &str) -> Vec<S> {
        let Some(space) = self.spaces.get(&space) else {
            return Vec::new();
        };
        let exact = space.topics.get(topic);
        if space.patterns.len() == 0 {
            return exact.map_or_else(Vec::new, |it| it.values().cloned().collect());
        }
        let mut all: BTreeMap<Token, &S> = BTreeMap::new();
        if let Some(exact) = exact {
            all.extend(exact.iter().map(|(token, subscriber)| (*token, subscriber)));
        }
        space.patterns.each_match(topic, &mut |subscribers| {
            all.extend(
                subscribers
                    .iter()
                    .map(|(token, subscriber)| (*token, subscriber)),
            );
        });
        all.into_values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_are_empty_again_keep_no_room_for_many() {
        let mut subscriptions = Subscriptions::default();
        let space = subscriptions.new_space();
        let token = Token;
        for number in 0..5000 {
            let name = format!("{number}/a");
            subscriptions.subscribe(space, token(number), (), Naming::Exact, &name);
            subscriptions.subscribe(space, token(number), (), Naming::Pattern, &name);
        }
        assert!(subscriptions.spaces[&space].topics.capacity() >= 5000);
        for number in 0..5000 {
            assert_eq!(subscriptions.forget(space, token(number)).len(), 2);
        }
        assert!(subscriptions.spaces[&space].topics.capacity() <= KEPT_ROOM);
        assert!(subscriptions.names.capacity() <= KEPT_ROOM);
        assert_eq!(subscriptions.traffic(space).patterns, 0);
    }
}
