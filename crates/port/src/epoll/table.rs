//! What the epoll driver knows of each descriptor: sixteen bytes, found by the descriptor's number;
//! and the way from an owner's token to its descriptor, four bytes to eight.

use crate::{Descriptor, Token};

/// No send is waiting.
pub(super) const NO_SEND: u32 = u32::MAX;

/// An accept is outstanding.
pub(super) const ACCEPTING: u8 = 1;
/// A receive is outstanding.
pub(super) const RECEIVING: u8 = 2;
/// A connect is outstanding.
pub(super) const CONNECTING: u8 = 4;
/// A foreign descriptor is watched.
pub(super) const POLLING: u8 = 8;
/// epoll knows the descriptor.
pub(super) const REGISTERED: u8 = 16;
/// The latest send was short: there is no room in the socket until epoll says so.
pub(super) const FULL: u8 = 32;

/// The operations that `Slot::token` may own.
pub(super) const OWNED: u8 = ACCEPTING | RECEIVING | CONNECTING;

/// One descriptor.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// Owner of the accept, receive, connect or poll that is outstanding.
    pub(super) token: Token,
    /// Number of the send that waits for room, or [`NO_SEND`].
    pub(super) send: u32,
    /// Counts how often this number was opened, so that an event for an earlier descriptor is
    /// recognised as stale.
    pub(super) generation: u16,
    /// Of the constants above.
    pub(super) state: u8,
    /// The events that epoll was asked for: `EPOLLIN`, `EPOLLOUT`.
    pub(super) mask: u8,
}

const FREE: Slot = Slot {
    token: Token(0),
    send: NO_SEND,
    generation: 0,
    state: 0,
    mask: 0,
};

impl Slot {
    pub(super) fn has(&self, state: u8) -> bool {
        self.state & state != 0
    }

    /// Whether any operation is outstanding.
    pub(super) fn is_busy(&self) -> bool {
        self.has(OWNED | POLLING) || self.send != NO_SEND
    }
}

/// All descriptors, by number.
#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    owners: Vec<u32>,
    owned: usize,
}

/// Spreads tokens that count upwards as well as any (Knuth's multiplicative hashing).
fn hash(token: Token) -> usize {
    (token.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize
}

impl Table {
    /// The descriptor's slot, made if there is none. Panics on a number that is not a descriptor.
    pub(super) fn slot(&mut self, descriptor: Descriptor) -> &mut Slot {
        let number = usize::try_from(descriptor).expect("a descriptor");
        if number >= self.slots.len() {
            if number >= self.slots.capacity() {
                // By a quarter: doubling would leave half of a large table unused.
                let more = number + 1 - self.slots.len();
                self.slots
                    .reserve_exact(more.max(self.slots.len() / 4 + 64));
            }
            self.slots.resize(number + 1, FREE);
        }
        &mut self.slots[number]
    }

    /// The descriptor's slot, if it has one.
    pub(super) fn get(&self, descriptor: Descriptor) -> Option<&Slot> {
        self.slots.get(usize::try_from(descriptor).ok()?)
    }

    /// The descriptor was opened or closed: forget everything about the earlier one.
    pub(super) fn renew(&mut self, descriptor: Descriptor) {
        let slot = self.slot(descriptor);
        *slot = Slot {
            generation: slot.generation.wrapping_add(1),
            ..FREE
        };
    }

    /// Every descriptor that epoll knows.
    pub(super) fn registered(&self) -> impl Iterator<Item = (Descriptor, &Slot)> {
        let all = self.slots.iter().enumerate();
        all.filter(|(_, slot)| slot.has(REGISTERED))
            .map(|(number, slot)| (number as i32, slot))
    }

    /// `token` begins an accept, receive or connect on `descriptor`.
    pub(super) fn own(&mut self, descriptor: Descriptor, token: Token, state: u8) {
        let slot = self.slot(descriptor);
        assert!(
            !slot.has(OWNED),
            "descriptor {descriptor} already has an operation outstanding"
        );
        slot.token = token;
        slot.state |= state;
        self.owned += 1;
        if self.owned * 2 > self.owners.len() {
            self.grow();
        } else {
            self.place(descriptor);
        }
    }

    /// The accept, receive or connect of the descriptor is over; whose it was.
    pub(super) fn disown(&mut self, descriptor: Descriptor) -> Token {
        let slot = *self.slot(descriptor);
        assert!(
            slot.has(OWNED),
            "descriptor {descriptor} has no operation outstanding"
        );
        self.displace(slot.token);
        self.slot(descriptor).state &= !OWNED;
        self.owned -= 1;
        slot.token
    }

    /// The descriptor on which `token` has an accept, receive or connect.
    pub(super) fn find(&self, token: Token) -> Option<Descriptor> {
        self.position(token)
            .map(|position| self.descriptor_at(position))
    }

    fn descriptor_at(&self, position: usize) -> Descriptor {
        (self.owners[position] - 1) as Descriptor
    }

    fn token_at(&self, position: usize) -> Token {
        self.slots[(self.owners[position] - 1) as usize].token
    }

    // The owners form a hash table with open addressing and linear probing (Knuth, The Art of
    // Computer Programming, volume 3, section 6.4, algorithms L and R): an entry is a descriptor's
    // number plus one, and the key is the token in the descriptor's slot. At most half of it is in
    // use.

    fn position(&self, token: Token) -> Option<usize> {
        let mask = self.owners.len().checked_sub(1)?;
        let mut position = hash(token) & mask;
        while self.owners[position] != 0 {
            if self.token_at(position) == token {
                return Some(position);
            }
            position = (position + 1) & mask;
        }
        None
    }

    fn place(&mut self, descriptor: Descriptor) {
        let mask = self.owners.len() - 1;
        let token = self.slots[descriptor as usize].token;
        let mut position = hash(token) & mask;
        while self.owners[position] != 0 {
            assert!(
                self.token_at(position) != token,
                "two operations outstanding on one token"
            );
            position = (position + 1) & mask;
        }
        self.owners[position] = descriptor as u32 + 1;
    }

    fn displace(&mut self, token: Token) {
        let mask = self.owners.len() - 1;
        let mut hole = self.position(token).expect("an owner");
        let mut position = hole;
        loop {
            position = (position + 1) & mask;
            if self.owners[position] == 0 {
                break;
            }
            // An entry may fill the hole if its search begins at or before it.
            let begin = hash(self.token_at(position)) & mask;
            if position.wrapping_sub(begin) & mask >= position.wrapping_sub(hole) & mask {
                self.owners[hole] = self.owners[position];
                hole = position;
            }
        }
        self.owners[hole] = 0;
    }

    fn grow(&mut self) {
        let size = (self.owners.len() * 2).max(64);
        self.owners.clear();
        self.owners.resize(size, 0);
        for number in 0..self.slots.len() {
            if self.slots[number].has(OWNED) {
                self.place(number as Descriptor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::collections::btree_map::Entry;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slot_has_sixteen_bytes() {
        assert_eq!(size_of::<Slot>(), 16);
    }

    proptest! {
        #[test]
        fn owners_are_found_as_in_a_map(
            acts in prop::collection::vec((0..200_i32, 0..400_u64), 1..600),
        ) {
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            for (descriptor, token) in acts {
                let token = Token(token * 64);
                if table.slot(descriptor).has(OWNED) {
                    let owner = table.disown(descriptor);
                    prop_assert_eq!(model.remove(&owner), Some(descriptor));
                } else if let Entry::Vacant(place) = model.entry(token) {
                    table.own(descriptor, token, RECEIVING);
                    place.insert(descriptor);
                }
                for token in (0..400).map(|token| Token(token * 64)) {
                    prop_assert_eq!(table.find(token), model.get(&token).copied());
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "two operations outstanding on one token")]
    fn two_receives_under_one_token_are_a_broken_invariant() {
        let mut table = Table::default();
        table.own(3, Token(1), RECEIVING);
        table.own(4, Token(1), RECEIVING);
    }
}
