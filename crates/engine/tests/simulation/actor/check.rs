//! What a peer has heard, held against what it and others have said.

use super::{Actor, Manners};
use vespiary_engine::Framing;

impl Actor {
    pub(super) fn said_bytes(&self) -> Vec<u8> {
        self.said
            .iter()
            .flat_map(|message| message.1.iter().copied())
            .collect()
    }

    pub(super) fn heard_bytes(&self) -> Vec<u8> {
        self.under_way
            .as_ref()
            .map_or(Vec::new(), |under_way| under_way.1.clone())
    }

    /// What came back is how what was said begins.
    pub fn check_echo(&self) {
        if self.manners == Manners::Lying {
            return;
        }
        if self.framing == Framing::Raw {
            assert!(
                self.said_bytes().starts_with(&self.heard_bytes()),
                "{}",
                self.describe()
            );
        } else {
            assert!(self.said.starts_with(&self.heard), "{}", self.describe());
            if let Some((kind, begun)) = &self.under_way {
                let (said_kind, said) = &self.said[self.heard.len()];
                assert!(
                    kind == said_kind && said.starts_with(begun),
                    "{}",
                    self.describe()
                );
            }
        }
    }

    /// What others said comes in their order, each at most once.
    pub fn check_news(&self) {
        if self.framing == Framing::Raw {
            return;
        }
        let mut latest = std::collections::BTreeMap::new();
        for (_, message) in &self.heard {
            let text = String::from_utf8_lossy(message);
            let mut words = text.split(':');
            let mut word = || words.next().and_then(|word| word.parse::<usize>().ok());
            if let (Some(speaker), Some(place)) = (word(), word())
                && let Some(before) = latest.insert(speaker, place)
            {
                assert!(
                    before < place,
                    "{place} of {speaker} after {before}: {}",
                    self.describe()
                );
            }
        }
    }
}
