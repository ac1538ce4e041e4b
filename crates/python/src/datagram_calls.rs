//! Datagrams become calls of the handler.
//!
//! The calls of one batch run in one copy of the server's context. A handler that raises concerns
//! one datagram: the error is counted, and logged at most once in some seconds, because the peer
//! chooses how many datagrams come.

use crate::addresses::address_object;
use crate::context::{self, Entered};
use crate::datagram::Datagram;
use crate::datagram_socket::DatagramSocket;
use crate::host::PyHost;
use crate::owned::release_result;
use crate::process;
use crate::report;
use pyo3::prelude::*;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use vespiary_engine::DatagramSocket as EngineSocket;
use vespiary_engine::port::Arrival;

impl PyHost {
    /// Call the handler for each datagram of a batch.
    pub(crate) fn hand_over_datagrams<'a>(
        &self,
        socket: &Rc<EngineSocket<Self>>,
        batch: impl Iterator<Item = (&'a Arrival, &'a [u8])>,
    ) {
        let py = self.py();
        let object = self
            .datagram_sockets
            .borrow()
            .get(&socket.token())
            .map(|it| it.clone_ref(py));
        // Without one the socket is being closed.
        let Some(object) = object else { return };
        let context = match context::copy(py, &socket.endpoint.host.context) {
            Ok(context) => context,
            Err(error) => return self.note(py, None, error),
        };
        for (arrival, bytes) in batch {
            if let Err(error) = self.hand_over(socket, &object, &context, arrival, bytes) {
                let peer = address_object(py, Some(&arrival.peer));
                let peer = peer.unwrap_or_else(|_| py.None());
                self.note_datagram_error(py, socket, peer.bind(py), error);
            }
        }
    }

    fn hand_over(
        &self,
        socket: &Rc<EngineSocket<Self>>,
        object: &Py<DatagramSocket>,
        context: &Py<PyAny>,
        arrival: &Arrival,
        bytes: &[u8],
    ) -> PyResult<()> {
        let py = self.py();
        let Some(hook) = &socket.endpoint.host.datagram else {
            return Ok(());
        };
        let datagram = Py::new(py, Datagram::new(py, object, arrival, bytes))?;
        let entered = Entered::enter(py, context)?;
        // SAFETY: the datagram is alive.
        let result = unsafe { hook.call(py, &[datagram.as_ptr()]) };
        drop(entered);
        if self.handle().is_forked() {
            process::end_child(py, result.err());
        }
        let result = result?;
        let checked = hook.check_result(&result);
        release_result(result);
        checked
    }

    /// Count and log what a handler has raised for a datagram, or keep what must end the loop.
    #[cold]
    pub(crate) fn note_datagram_error(
        &self,
        py: Python<'_>,
        socket: &Rc<EngineSocket<Self>>,
        peer: &Bound<'_, PyAny>,
        error: PyErr,
    ) {
        let Some(error) = self.keep_fatal(py, error) else {
            return;
        };
        let host = &socket.endpoint.host;
        host.lasting.handler_errors.fetch_add(1, Ordering::Relaxed);
        report::datagram_failed(py, &host.url.borrow(), peer, error);
    }
}
