//! The TLS of one connection: what the layer works on, and the rest of the program asks.

use crate::facts::Facts;
use rustls::CommonState;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use std::cell::RefCell;
use std::rc::Rc;

/// Either end of a TLS connection.
pub(crate) enum Session {
    /// With the name that its client has asked for.
    Server(UnbufferedServerConnection, Option<String>),
    Client(UnbufferedClientConnection, String),
}

impl Session {
    pub(crate) fn is_client(&self) -> bool {
        matches!(self, Self::Client(..))
    }

    fn state(&self) -> &CommonState {
        match self {
            Self::Server(session, _) => session,
            Self::Client(session, _) => session,
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.state().is_handshaking()
    }

    /// Whether rustls has something to send.
    pub(crate) fn wants_write(&self) -> bool {
        self.state().wants_write()
    }

    fn facts(&self) -> Option<Facts> {
        let name = match self {
            Self::Server(_, name) => name.clone(),
            Self::Client(_, name) => Some(name.clone()),
        };
        Facts::of(self.state(), name)
    }
}

/// Answers what a connection's TLS has agreed on, as long as the connection lives and after it.
#[derive(Clone)]
pub struct TlsHandle(pub(crate) Rc<RefCell<Session>>);

impl TlsHandle {
    /// What was agreed on; `None` before the end of the handshake.
    pub fn facts(&self) -> Option<Facts> {
        let session = self.0.try_borrow().ok()?;
        (!session.is_handshaking())
            .then(|| session.facts())
            .flatten()
    }
}
