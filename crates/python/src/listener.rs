//! `Listener`: a socket that accepts connections for an endpoint.

use crate::addresses::address_object;
use crate::confined::{Confine, Confined};
use crate::host::PyHost;
use crate::loop_handle::forked_error;
use crate::thread_calls::wrong_thread;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;
use vespiary_engine::Engine;

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
    listener: Rc<vespiary_engine::Listener<PyHost>>,
    engine: Rc<Engine<PyHost>>,
}

impl Listener {
    pub(crate) fn new(
        listener: Rc<vespiary_engine::Listener<PyHost>>,
        engine: Rc<Engine<PyHost>>,
    ) -> Self {
        let handle = engine.host.handle().clone();
        let local = Local {
            living: RefCell::new(Some(Living { listener, engine })),
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
        let address = self.living()?.map(|it| it.listener.address()).transpose()?;
        address_object(py, address.as_ref())
    }

    /// Accept nobody until `resume`; who connects waits in the kernel's backlog.
    fn suspend(&self) -> PyResult<()> {
        if let Some(living) = self.living()? {
            living.listener.suspend();
        }
        Ok(())
    }

    /// Accept again.
    fn resume(&self) -> PyResult<()> {
        if let Some(living) = self.living()? {
            living.listener.unsuspend();
        }
        Ok(())
    }

    /// Stop listening; connections stay.
    fn close(&self) -> PyResult<()> {
        if let Some(living) = self.living()? {
            living.listener.close();
        }
        Ok(())
    }

    /// Forget the engine: of a listener that has closed only the counters are needed any more.
    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        if let Some(living) = slf.get().living()? {
            let mut listeners = living.engine.host.listeners.borrow_mut();
            listeners.retain(|other| !other.is(slf));
        }
        slf.get().let_go();
        Ok(())
    }

    /// Whether it has released its socket after `close`, which takes a turn.
    #[getter]
    fn is_closed(&self) -> PyResult<bool> {
        Ok(self
            .living()?
            .is_none_or(|living| living.listener.is_closed()))
    }
}
