//! Rows that are found by a token: an index, and a generation that distinguishes a row from an
//! earlier one in the same place.
//!
//! So a completion for a row that was removed finds nothing, and not the connection that uses its
//! place now.

use vespiary_port::Token;

/// What kind of owner a token names; its top bits within the 56 that the port leaves to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Connection,
    Listener,
    Datagrams,
    Foreign,
    Stream,
}

const INDEX_BITS: u32 = 32;
const GENERATION_BITS: u32 = 21;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;

fn token(owner: Owner, generation: u32, index: u32) -> Token {
    let kind = owner as u64;
    Token(
        kind << (INDEX_BITS + GENERATION_BITS)
            | u64::from(generation) << INDEX_BITS
            | u64::from(index),
    )
}

/// The kind of owner that a token names.
pub(crate) fn owner(token: Token) -> Owner {
    match token.0 >> (INDEX_BITS + GENERATION_BITS) {
        0 => Owner::Connection,
        1 => Owner::Listener,
        2 => Owner::Datagrams,
        3 => Owner::Foreign,
        _ => Owner::Stream,
    }
}

/// The token of a stream of the host, which numbers them as it likes.
pub(crate) fn stream(number: u64) -> Token {
    let bits = INDEX_BITS + GENERATION_BITS;
    Token((Owner::Stream as u64) << bits | number & ((1 << bits) - 1))
}

/// The number in a stream's token.
pub(crate) fn number(token: Token) -> u64 {
    token.0 & ((1 << (INDEX_BITS + GENERATION_BITS)) - 1)
}

/// A foreign descriptor's token; descriptors need no generation, since `unpoll` is immediate.
pub(crate) fn foreign(descriptor: i32) -> Token {
    token(Owner::Foreign, 0, descriptor as u32)
}

/// The descriptor in a foreign token.
pub(crate) fn descriptor(token: Token) -> i32 {
    token.0 as u32 as i32
}

struct Row<T> {
    generation: u32,
    value: Option<T>,
}

/// Rows of one kind of owner.
pub(crate) struct Table<T> {
    owner: Owner,
    rows: Vec<Row<T>>,
    free: Vec<u32>,
}

impl<T> Table<T> {
    pub(crate) fn new(owner: Owner) -> Self {
        Self {
            owner,
            rows: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Insert what `make` returns when it is called with the new token.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Token) -> T) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.rows.push(Row {
                generation: 0,
                value: None,
            });
            (self.rows.len() - 1) as u32
        });
        let row = &mut self.rows[index as usize];
        let token = token(self.owner, row.generation, index);
        row.value = Some(make(token));
        token
    }

    #[inline]
    pub(crate) fn get(&self, token: Token) -> Option<&T> {
        let row = self.rows.get(token.0 as u32 as usize)?;
        let generation = (token.0 >> INDEX_BITS & GENERATION_MASK) as u32;
        if row.generation == generation {
            row.value.as_ref()
        } else {
            None
        }
    }

    pub(crate) fn remove(&mut self, token: Token) -> Option<T> {
        let index = token.0 as u32;
        let row = self.rows.get_mut(index as usize)?;
        if u64::from(row.generation) != token.0 >> INDEX_BITS & GENERATION_MASK {
            return None;
        }
        let value = row.value.take()?;
        row.generation = (row.generation + 1) & GENERATION_MASK as u32;
        self.free.push(index);
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.rows.iter().filter_map(|row| row.value.as_ref())
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_a_row_that_is_gone_finds_nothing() {
        let mut table = Table::new(Owner::Connection);
        let first = table.insert_with(|_| 'a');
        assert_eq!(table.remove(first), Some('a'));
        let second = table.insert_with(|_| 'b');
        assert_eq!(table.get(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get(second), Some(&'b'));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_token_leaves_the_top_eight_bits_to_the_port() {
        let mut table = Table::new(Owner::Listener);
        let token = table.insert_with(|_| ());
        assert_eq!(token.0 >> 56, 0);
        assert_eq!(owner(token), Owner::Listener);
        assert_eq!(descriptor(foreign(7)), 7);
        assert_eq!(foreign(i32::MAX).0 >> 56, 0);
        let numbered = stream(u64::MAX);
        assert_eq!((numbered.0 >> 56, owner(numbered)), (0, Owner::Stream));
        assert_eq!(number(stream(7)), 7);
    }
}
