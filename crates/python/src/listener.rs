//! `Listener`: a socket that accepts connections, or receives datagrams, for an endpoint.

use crate::addresses::address_object;
use crate::confined::{Confine, Confined};
use crate::datagram_socket::DatagramSocket;
use crate::host::PyHost;
use crate::loop_handle::forked_error;
use crate::thread_calls::wrong_thread;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;
use vespiary_engine::Engine;
use vespiary_engine::port::Address;

/// A listening socket. Only the thread that made it may use it; it may be dropped on any.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct Listener {
    local: Confined<Local>,
}

struct Local {
    /// Until the loop is closed.
    living: RefCell<Option<Living>>,
}

// SAFETY: never independent.
unsafe impl Confine for Local {}

#[derive(Clone)]
struct Living {
    socket: Socket,
    engine: Rc<Engine<PyHost>>,
}

/// What an endpoint is reached by.
#[derive(Clone)]
pub(crate) enum Socket {
    Stream(Rc<vespiary_engine::Listener<PyHost>>),
    Datagrams(Rc<vespiary_engine::DatagramSocket<PyHost>>),
}

impl Socket {
    fn address(&self) -> PyResult<Address> {
        match self {
            Self::Stream(listener) => Ok(listener.address()?),
            Self::Datagrams(socket) => Ok(socket.address().clone()),
        }
    }

    fn suspend(&self) {
        match self {
            Self::Stream(listener) => listener.suspend(),
            Self::Datagrams(socket) => socket.suspend(),
        }
    }

    fn resume(&self) {
        match self {
            Self::Stream(listener) => listener.unsuspend(),
            Self::Datagrams(socket) => socket.resume(),
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Stream(listener) => listener.is_closed(),
            Self::Datagrams(socket) => socket.is_closed(),
        }
    }
}

impl Listener {
    pub(crate) fn new(socket: Socket, engine: Rc<Engine<PyHost>>) -> Self {
        let handle = engine.host.handle().clone();
        let local = Local {
            living: RefCell::new(Some(Living { socket, engine })),
        };
        Self {
            local: Confined::new(handle, local),
        }
    }

    /// The loop is closed: nothing of the engine is left.
    pub(crate) fn let_go(&self) {
        if let Some(local) = self.local.get() {
            drop(local.living.take());
        }
    }

    fn local(&self) -> PyResult<&Local> {
        let handle = self.local.handle();
        self.local.get().ok_or_else(|| {
            if handle.is_forked() {
                forked_error()
            } else {
                wrong_thread("a listener")
            }
        })
    }

    fn living(&self) -> PyResult<Option<Living>> {
        if self.local.handle().is_forked() {
            // A child has none of its parent's connections.
            return Ok(None);
        }
        Ok(self.local()?.living.borrow().clone())
    }
}

#[pymethods]
impl Listener {
    /// The address it is bound to: (host, port), or a path; None once the loop is closed.
    #[getter]
    fn address(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let address = self.living()?.map(|it| it.socket.address()).transpose()?;
        address_object(py, address.as_ref())
    }

    /// The handler's view of it, where it is for datagrams.
    #[getter]
    fn datagram_socket(&self, py: Python<'_>) -> PyResult<Option<Py<DatagramSocket>>> {
        let Some(living) = self.living()? else {
            return Ok(None);
        };
        let Socket::Datagrams(socket) = &living.socket else {
            return Ok(None);
        };
        let sockets = living.engine.host.datagram_sockets.borrow();
        Ok(sockets.get(&socket.token()).map(|it| it.clone_ref(py)))
    }

    /// Accept no connections until `resume`; new ones wait in the kernel's backlog.
    fn suspend(&self) -> PyResult<()> {
        if let Some(living) = self.living()? {
            living.socket.suspend();
        }
        Ok(())
    }

    /// Accept again.
    fn resume(&self) -> PyResult<()> {
        if let Some(living) = self.living()? {
            living.socket.resume();
        }
        Ok(())
    }

    /// Stop listening; connections stay. A socket for datagrams that receives does no longer, its
    /// pseudo-connections aside, and still sends: a second call closes it, with the last of these.
    fn close(&self) -> PyResult<()> {
        match self.living()?.map(|living| living.socket) {
            Some(Socket::Stream(listener)) => listener.close(),
            Some(Socket::Datagrams(socket)) if socket.is_receiving() => socket.stop(),
            Some(Socket::Datagrams(socket)) => socket.close(),
            None => {}
        }
        Ok(())
    }

    /// Forget the engine: of a listener that has closed only the counters are needed any more.
    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        if let Some(living) = slf.get().living()? {
            let mut listeners = living.engine.host.listeners.borrow_mut();
            listeners.retain(|other| !other.is(slf));
            drop(listeners);
            if let Socket::Datagrams(socket) = &living.socket {
                let mut sockets = living.engine.host.datagram_sockets.borrow_mut();
                let object = sockets.remove(&socket.token());
                drop(sockets);
                if let Some(object) = object {
                    object.get().let_go();
                }
            }
        }
        slf.get().let_go();
        Ok(())
    }

    /// Whether it has released its socket after `close`, which takes a turn.
    #[getter]
    fn is_closed(&self) -> PyResult<bool> {
        Ok(self
            .living()?
            .is_none_or(|living| living.socket.is_closed()))
    }
}

/// Make the Python side's half of a listening socket, which the host holds too.
pub(crate) fn add_listener(
    py: Python<'_>,
    engine: &Rc<Engine<PyHost>>,
    socket: Socket,
) -> PyResult<Py<Listener>> {
    let listener = Py::new(py, Listener::new(socket, engine.clone()))?;
    let mut listeners = engine.host.listeners.borrow_mut();
    listeners.push(listener.clone_ref(py));
    Ok(listener)
}
