//! What a timer is for, in one word: there is a timer for each connection that has a deadline, and
//! a host may have a million.

use crate::table::{self, Owner};
use std::num::NonZeroU64;
use vespiary_port::Token;

/// Marks a number of the host's; tokens leave their top eight bits free.
const HOST: NonZeroU64 = NonZeroU64::new(1 << 63).expect("it is not zero");
/// Marks a token, which may be zero.
const TOKEN: NonZeroU64 = NonZeroU64::new(1 << 62).expect("it is not zero");

/// What a timer is for, as it lies in the wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due(NonZeroU64);

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Connection(Token),
    Accept(Token),
    Datagrams(Token),
    Host(u64),
}

impl Due {
    /// One of a connection, a listener or a socket for datagrams.
    pub(crate) fn token(token: Token) -> Self {
        Self(TOKEN | token.0)
    }

    /// One of the host's, which it knows by a number below 2^62.
    pub(crate) fn host(id: u64) -> Self {
        debug_assert!(id < TOKEN.get(), "the two highest bits are taken");
        Self(HOST | id)
    }

    /// What it is for.
    pub(crate) fn purpose(self) -> Purpose {
        let bits = self.0.get();
        if bits & HOST.get() != 0 {
            return Purpose::Host(bits & !HOST.get());
        }
        let token = Token(bits & !TOKEN.get());
        match table::owner(token) {
            Owner::Listener => Purpose::Accept(token),
            Owner::Datagrams => Purpose::Datagrams(token),
            Owner::Connection | Owner::Foreign | Owner::Stream => Purpose::Connection(token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    #[test]
    fn a_timer_is_for_whom_it_was_made() {
        let token = |owner| Table::new(owner).insert_with(|_| ());
        let connection = token(Owner::Connection);
        assert_eq!(connection.0, 0);
        assert_eq!(
            Due::token(connection).purpose(),
            Purpose::Connection(connection)
        );
        let listener = token(Owner::Listener);
        assert_eq!(Due::token(listener).purpose(), Purpose::Accept(listener));
        let socket = token(Owner::Datagrams);
        assert_eq!(Due::token(socket).purpose(), Purpose::Datagrams(socket));
        for id in [0, 1, (1 << 62) - 1] {
            assert_eq!(Due::host(id).purpose(), Purpose::Host(id));
        }
        assert_eq!(size_of::<Option<Due>>(), 8);
    }
}
