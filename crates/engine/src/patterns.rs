//! Patterns of topics, and who subscribed by them.
//!
//! The syntax is that of MQTT's topic filters (MQTT 5.0 section 4.7): levels are separated by `/`,
//! `+` stands for any one level, and `#`, as the last level, for any number of levels, none
//! included: `rooms/#` matches `rooms` too. Patterns of this form can be kept in a tree by their
//! levels, so that finding those that match a topic visits only the branches that its levels take.
//! A glob such as `rooms/*-news` would have to be tried one by one, for each message.
//!
//! A topic of `n` levels visits at most the nodes of the tree's first `n` levels, and with few
//! patterns that have `+` in the same place about `n`. The functions recurse once per level;
//! [`LEVELS_MAX`] bounds that.

use crate::subscriptions::{Subscribers, give_back_room};
use std::collections::{BTreeMap, HashMap};
use vespiary_port::Token;

/// The most levels of a pattern. Paths in practice have three to six.
pub(crate) const LEVELS_MAX: usize = 32;

/// Whether a text is a pattern: wildcards stand alone in their level, `#` is the last one, and
/// there are at most [`LEVELS_MAX`] levels.
pub(crate) fn is_pattern(text: &str) -> bool {
    let mut is_over = false;
    let mut count = 0;
    text.split('/').all(|level| {
        count += 1;
        let is_last = std::mem::replace(&mut is_over, level == "#");
        let is_level = matches!(level, "+" | "#") || !level.contains(['+', '#']);
        count <= LEVELS_MAX && !is_last && is_level
    })
}

/// Whether a pattern matches a topic.
pub(crate) fn matches(pattern: &str, topic: &str) -> bool {
    let mut topics = topic.split('/');
    for level in pattern.split('/') {
        if level == "#" {
            return true;
        }
        match topics.next() {
            Some(name) if level == "+" || level == name => {}
            _ => return false,
        }
    }
    topics.next().is_none()
}

/// What stands before the first level of a pattern that is a wildcard: each topic that the pattern
/// matches begins with it.
pub(crate) fn prefix(pattern: &str) -> &str {
    let mut end: usize = 0;
    for level in pattern.split('/') {
        if level == "#" {
            // The level above matches too, without the slash behind it.
            return &pattern[..end.saturating_sub(1)];
        }
        if level == "+" {
            return &pattern[..end];
        }
        end += level.len() + 1;
    }
    pattern
}

/// One level of the tree.
struct Node<S> {
    /// The levels below, by name.
    named: HashMap<Box<str>, Node<S>>,
    /// The level below `+`.
    any: Option<Box<Node<S>>>,
    /// Those whose pattern ends here.
    ending: Subscribers<S>,
    /// Those whose pattern has `#` as its next level.
    rest: Subscribers<S>,
}

impl<S> Default for Node<S> {
    fn default() -> Self {
        Self {
            named: HashMap::new(),
            any: None,
            ending: BTreeMap::new(),
            rest: BTreeMap::new(),
        }
    }
}

impl<S> Node<S> {
    fn is_empty(&self) -> bool {
        self.named.is_empty()
            && self.any.is_none()
            && self.ending.is_empty()
            && self.rest.is_empty()
    }

    /// Where the subscribers of a pattern are kept.
    fn place(&mut self, pattern: &str) -> &mut Subscribers<S> {
        let mut node = self;
        for level in pattern.split('/') {
            node = match level {
                "#" => return &mut node.rest,
                "+" => node.any.get_or_insert_default(),
                name => node.named.entry(name.into()).or_default(),
            };
        }
        &mut node.ending
    }

    fn remove(&mut self, levels: &[&str], token: Token) -> bool {
        let Some((level, below)) = levels.split_first() else {
            return self.ending.remove(&token).is_some();
        };
        match *level {
            "#" => self.rest.remove(&token).is_some(),
            "+" => {
                let Some(node) = &mut self.any else {
                    return false;
                };
                let is_removed = node.remove(below, token);
                if node.is_empty() {
                    self.any = None;
                }
                is_removed
            }
            name => {
                let Some(node) = self.named.get_mut(name) else {
                    return false;
                };
                let is_removed = node.remove(below, token);
                if node.is_empty() {
                    self.named.remove(name);
                    give_back_room(&mut self.named);
                }
                is_removed
            }
        }
    }

    /// Give `found` the subscribers of each pattern that matches the levels that are left.
    fn each_match<'a>(
        &'a self,
        mut levels: std::str::Split<'_, char>,
        found: &mut dyn FnMut(&'a Subscribers<S>),
    ) {
        if !self.rest.is_empty() {
            found(&self.rest);
        }
        let Some(level) = levels.next() else {
            if !self.ending.is_empty() {
                found(&self.ending);
            }
            return;
        };
        if let Some(node) = self.named.get(level) {
            node.each_match(levels.clone(), found);
        }
        if let Some(node) = &self.any {
            node.each_match(levels, found);
        }
    }
}

/// Who subscribed by which pattern.
pub(crate) struct Patterns<S> {
    root: Node<S>,
    count: usize,
}

impl<S> Default for Patterns<S> {
    fn default() -> Self {
        Self {
            root: Node::default(),
            count: 0,
        }
    }
}

impl<S> Patterns<S> {
    /// How many subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Add a subscriber by a pattern, which must be one ([`is_pattern`]).
    pub(crate) fn insert(&mut self, pattern: &str, token: Token, subscriber: S) {
        let before = self.root.place(pattern).insert(token, subscriber);
        self.count += usize::from(before.is_none());
    }

    /// Remove a subscriber by a pattern.
    pub(crate) fn remove(&mut self, pattern: &str, token: Token) {
        let levels: Vec<_> = pattern.split('/').collect();
        self.count -= usize::from(self.root.remove(&levels, token));
    }

    /// Give `found` the subscribers of each pattern that matches a topic.
    pub(crate) fn each_match<'a>(&'a self, topic: &str, found: &mut dyn FnMut(&'a Subscribers<S>)) {
        self.root.each_match(topic.split('/'), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wildcards_stand_alone_in_their_level_and_the_rest_is_last() {
        for pattern in ["#", "+", "a", "a/#", "+/b/#", "/+", "a//+", ""] {
            assert!(is_pattern(pattern), "{pattern}");
        }
        for text in ["a#", "#/a", "+a", "a/b+/c", "##", "#/", "a/#/b"] {
            assert!(!is_pattern(text), "{text}");
        }
        assert!(is_pattern(&"/".repeat(LEVELS_MAX - 1)));
        assert!(!is_pattern(&"/".repeat(LEVELS_MAX)));
    }

    #[test]
    fn the_cases_of_the_specification_match_as_it_says() {
        let player = "sport/tennis/player1";
        for (pattern, topic, expected) in [
            ("sport/tennis/player1/#", player, true),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/ranking",
                true,
            ),
            ("sport/#", "sport", true),
            ("#", "", true),
            ("sport/tennis/+", player, true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    fn levels(of: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(of), 1..5).prop_map(|levels| levels.join("/"))
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_matching_one_by_one_finds(
            patterns in prop::collection::vec(
                levels(&["a", "b", "", "+", "#"]).prop_filter("a pattern", |it| is_pattern(it)),
                0..20,
            ),
            gone in prop::collection::vec(any::<bool>(), 20),
            topic in levels(&["a", "b", "", "c"]),
        ) {
            let mut tree = Patterns::default();
            let mut expected = Vec::new();
            for (number, pattern) in patterns.iter().enumerate() {
                tree.insert(pattern, Token(number as u64), ());
            }
            for (number, pattern) in patterns.iter().enumerate() {
                if gone[number] {
                    tree.remove(pattern, Token(number as u64));
                    tree.remove(pattern, Token(number as u64));
                } else if matches(pattern, &topic) {
                    expected.push(Token(number as u64));
                    prop_assert!(topic.starts_with(prefix(pattern)), "{}", pattern);
                }
            }
            let mut found = Vec::new();
            tree.each_match(&topic, &mut |subscribers| found.extend(subscribers.keys().copied()));
            found.sort_unstable();
            prop_assert_eq!(found, expected);
            for (number, pattern) in patterns.iter().enumerate() {
                tree.remove(pattern, Token(number as u64));
            }
            prop_assert_eq!(tree.len(), 0);
            prop_assert!(tree.root.is_empty());
        }
    }
}
