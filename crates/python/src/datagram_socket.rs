//! `vespiary.DatagramSocket`: a socket for datagrams, as its handler sees it.

use crate::addresses::{address_object, address_of};
use crate::confined::{Confine, Confined};
use crate::host::PyHost;
use crate::loop_handle::LoopHandle;
use crate::report;
use crate::send::with_payload;
use crate::thread_calls::ThreadCall;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vespiary_engine::port::Address;
use vespiary_engine::{DatagramError, DatagramSocket as EngineSocket};

/// What only the loop's thread touches: the socket, until it is closed.
struct Local(RefCell<Option<Rc<EngineSocket<PyHost>>>>);

// SAFETY: without the engine's socket there is nothing in it. The object is being dropped, so that
// nobody else borrows.
unsafe impl Confine for Local {
    fn is_independent(&self) -> bool {
        self.0.borrow().is_none()
    }
}

/// A socket for datagrams of a server.
///
/// Its methods may be called from any thread.
#[pyclass(frozen, weakref, module = "vespiary._core")]
pub(crate) struct DatagramSocket {
    local: Confined<Local>,
    address: Address,
    is_closed: AtomicBool,
}

impl DatagramSocket {
    pub(crate) fn new(handle: Arc<LoopHandle>, socket: Rc<EngineSocket<PyHost>>) -> Self {
        let address = socket.address().clone();
        let local = Local(RefCell::new(Some(socket)));
        Self {
            local: Confined::new(handle, local),
            address,
            is_closed: AtomicBool::new(false),
        }
    }

    /// The address that it is bound to.
    pub(crate) fn bound(&self) -> &Address {
        &self.address
    }

    /// Close it and hold nothing of the engine any more.
    pub(crate) fn let_go(&self) {
        self.is_closed.store(true, Ordering::Release);
        if let Some(local) = self.local.get()
            && let Some(socket) = local.0.take()
        {
            socket.close();
        }
    }

    fn living(&self) -> Option<Rc<EngineSocket<PyHost>>> {
        self.local.get()?.0.borrow().clone()
    }

    /// Send, on the loop's thread at once, and from another one soon.
    pub(crate) fn send(
        slf: &Bound<'_, Self>,
        data: &Bound<'_, PyAny>,
        peer: &Address,
        source: Option<IpAddr>,
    ) -> PyResult<bool> {
        let this = slf.get();
        if this.is_closed.load(Ordering::Acquire) || this.local.handle().is_forked() {
            return Err(closed_error());
        }
        if let Some(socket) = this.living() {
            let sent = with_payload(data, |_, bytes| socket.send(bytes, peer, source))?;
            return sent.map_err(|error| this.error(error, peer));
        }
        if this.local.handle().is_here() {
            return Err(closed_error());
        }
        if peer.family() != this.address.family() {
            return Err(this.error(DatagramError::WrongFamily, peer));
        }
        let bytes = with_payload(data, |_, bytes| bytes.to_vec())?;
        let call = ThreadCall::Datagram(slf.clone().unbind(), bytes, peer.clone(), source);
        this.local.handle().add(slf.py(), call)?;
        Ok(true)
    }

    /// Send what another thread has asked for. A socket that has closed meanwhile loses it.
    pub(crate) fn send_for_another(&self, bytes: &[u8], peer: &Address, source: Option<IpAddr>) {
        if let Some(socket) = self.living() {
            let _ = socket.send(bytes, peer, source);
        }
    }

    fn error(&self, error: DatagramError, peer: &Address) -> PyErr {
        match error {
            DatagramError::Closed => closed_error(),
            DatagramError::WrongFamily => PyValueError::new_err(format!(
                "{} cannot send to {peer}: the addresses are of different families",
                self.address
            )),
        }
    }
}

fn closed_error() -> PyErr {
    PyRuntimeError::new_err("the socket is closed: its server has stopped")
}

#[pymethods]
impl DatagramSocket {
    /// The address that it is bound to.
    #[getter]
    fn address(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        address_object(py, Some(&self.address))
    }

    /// Whether it has been closed.
    #[getter]
    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Bytes that wait to be sent; 0 in another thread than the loop's.
    #[getter]
    fn queued_bytes(&self) -> usize {
        self.living().map_or(0, |socket| socket.waiting_bytes())
    }

    /// Queue a datagram. It is sent with the other queued datagrams when the handler returns.
    #[pyo3(signature = (data, peer, /))]
    fn send_to(
        slf: &Bound<'_, Self>,
        data: &Bound<'_, PyAny>,
        peer: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let peer = address_of(peer).map_err(|_| wrong_peer(peer))?;
        Self::send(slf, data, &peer, None)
    }

    /// A datagram is not handled, because too many others are.
    fn _refuse(&self) {
        if let Some(socket) = self.living() {
            socket.refuse();
        }
    }

    /// A gateway does not carry a datagram on: it has too many clients, or no server for it.
    fn _not_carried(&self, has_server: bool) {
        if let Some(socket) = self.living() {
            socket.drop_for_host(if has_server {
                "clients_max"
            } else {
                "no_upstream"
            });
        }
    }

    /// Log and count what a handler has raised for a datagram of a peer.
    fn _fail(&self, error: &Bound<'_, PyAny>, peer: &Bound<'_, PyAny>) {
        let py = error.py();
        match self.living() {
            Some(socket) => {
                let host = &socket.engine().host;
                host.note_datagram_error(py, &socket, peer, PyErr::from_value(error.clone()));
            }
            None => report::callback_failed(py, "handler", error),
        }
    }
}

#[cold]
fn wrong_peer(peer: &Bound<'_, PyAny>) -> PyErr {
    PyValueError::new_err(format!(
        "a peer is an IP address and a port, such as (\"192.0.2.1\", 53), or the path of a Unix \
         socket; got {peer:?}: resolve a host's name first"
    ))
}
