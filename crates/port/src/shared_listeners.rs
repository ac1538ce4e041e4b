//! Listening sockets that this process did not create. Other processes may accept on them too.

use std::io;

use crate::{Descriptor, socket};

/// Those that a driver has adopted and not closed: a few at most.
#[derive(Default)]
pub(crate) struct SharedListeners(Vec<Descriptor>);

impl SharedListeners {
    /// See [`crate::Port::adopt`].
    pub(crate) fn adopt(&mut self, listener: Descriptor) -> io::Result<()> {
        socket::adopt(listener)?;
        self.0.push(listener);
        Ok(())
    }

    pub(crate) fn contains(&self, listener: Descriptor) -> bool {
        self.0.contains(&listener)
    }

    /// A socket is closed, and its number may be given to another.
    #[inline]
    pub(crate) fn forget(&mut self, socket: Descriptor) {
        self.0.retain(|listener| *listener != socket);
    }
}
