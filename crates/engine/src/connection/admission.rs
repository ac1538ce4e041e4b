//! What a connection counts for; [`crate::admission`] changes it.

/// What a connection counts for in its endpoint's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Nothing: it is only being refused.
    Refused,
    /// A connection, and a handshake in progress.
    Handshaking,
    /// A connection.
    Settled,
}
