//! What the rest of the program can ask about the TLS of one connection.

use crate::facts::{Agreed, Facts};
use std::cell::OnceCell;
use std::rc::Rc;

/// Answers what a connection's TLS has agreed on, as long as the connection lives and after it.
#[derive(Clone)]
pub struct TlsHandle(pub(crate) Rc<OnceCell<Box<Agreed>>>);

impl TlsHandle {
    /// What was agreed on; `None` before the end of the handshake.
    pub fn facts(&self) -> Option<Facts> {
        self.0.get().map(|agreed| agreed.facts())
    }
}
