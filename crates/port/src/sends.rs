//! Sends in flight, each under a small number that the kernel carries for us.
//!
//! A slot is found by its number at once. Finding it by the owner's token is a search over one
//! packed array; only cancelling does that.

use crate::{Outgoing, Token};

const NOBODY: u64 = u64::MAX;

/// The sends in flight of one driver. `Extra` is what the driver keeps besides each.
pub(crate) struct Sends<Extra> {
    tokens: Vec<u64>,
    slots: Vec<Slot<Extra>>,
    free: Vec<u32>,
}

struct Slot<Extra> {
    outgoing: Option<Outgoing>,
    extra: Extra,
}

impl<Extra: Default> Sends<Extra> {
    pub(crate) fn new() -> Self {
        Self {
            tokens: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Keep `outgoing` until [`Sends::remove`]. Its bytes do not move, even if the slots do.
    pub(crate) fn insert(&mut self, token: Token, outgoing: Outgoing) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.tokens.push(NOBODY);
            self.slots.push(Slot {
                outgoing: None,
                extra: Extra::default(),
            });
            (self.slots.len() - 1) as u32
        });
        self.tokens[number as usize] = token.0;
        self.slots[number as usize].outgoing = Some(outgoing);
        number
    }

    /// What is being sent, and the driver's part.
    pub(crate) fn get(&mut self, number: u32) -> (&Outgoing, &mut Extra) {
        let slot = &mut self.slots[number as usize];
        let outgoing = slot.outgoing.as_ref().expect("a send in flight");
        (outgoing, &mut slot.extra)
    }

    /// The send is over: whose it was, and its bytes.
    pub(crate) fn remove(&mut self, number: u32) -> (Token, Outgoing) {
        let outgoing = self.slots[number as usize]
            .outgoing
            .take()
            .expect("a send in flight");
        let token = std::mem::replace(&mut self.tokens[number as usize], NOBODY);
        self.free.push(number);
        (Token(token), outgoing)
    }

    /// The number of the send that `token` owns.
    pub(crate) fn find(&self, token: Token) -> Option<u32> {
        self.tokens
            .iter()
            .position(|owner| *owner == token.0)
            .map(|number| number as u32)
    }

    /// How many are in flight.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_and_found_by_its_owner_only_while_in_flight() {
        let mut sends: Sends<()> = Sends::new();
        let first = sends.insert(Token(1), Outgoing::one(vec![1]));
        let second = sends.insert(Token(2), Outgoing::one(vec![2]));
        assert_eq!(sends.find(Token(2)), Some(second));
        assert_eq!(sends.remove(first).0, Token(1));
        assert_eq!((sends.find(Token(1)), sends.len()), (None, 1));
        assert_eq!(sends.insert(Token(3), Outgoing::one(vec![3])), first);
        assert_eq!(sends.get(first).0.first(), [3]);
    }
}
