//! Waking the tasks of coroutine handlers: at a round's end, when all of its completions are handed
//! over.

use crate::connection::Connection;
use crate::core::Conn;
use crate::dropped;
use crate::host::PyHost;
use crate::process;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::rc::Rc;
use vespiary_engine::Host as _;

impl PyHost {
    pub(crate) fn has_wakes(&self) -> bool {
        !self.wakes.borrow().is_empty()
    }

    /// Wake a connection's task now, if it is to be woken.
    #[cold]
    pub(crate) fn wake_now(&self, connection: &Rc<Conn>) {
        let py = self.py();
        let object = match connection.user.borrow().as_ref() {
            Some(attachment) => attachment.object.clone_ref(py),
            None => return,
        };
        let Ok(inbox) = object.get().inbox() else {
            return;
        };
        if inbox.marked.get() {
            self.wakes.borrow_mut().retain(|other| !other.is(&object));
            self.wake_one(&object);
        }
    }

    pub(crate) fn wake_all(&self) {
        if self.wakes.borrow().is_empty() {
            return;
        }
        let mut woken = self.wakes.take();
        for connection in woken.drain(..) {
            self.wake_one(&connection);
        }
        let mut wakes = self.wakes.borrow_mut();
        if wakes.is_empty() {
            // Keep the allocation.
            *wakes = woken;
        }
    }

    fn wake_one(&self, object: &Py<Connection>) {
        let py = self.py();
        let (outcome, is_lendable) = match object.get().inbox() {
            Ok(inbox) if inbox.is_timed.get() => {
                let outcome = inbox.wake_timed(py, object.get());
                (outcome, inbox.is_lendable.get())
            }
            Ok(inbox) => (inbox.wake(py), inbox.is_lendable.get()),
            Err(error) => (Err(error), false),
        };
        if self.handle().is_forked() {
            process::end_child(py, outcome.err());
        }
        match outcome {
            // The task has taken its step, and the closed loop takes no callbacks of its end.
            Err(error) if self.is_closing.get() && error.is_instance_of::<PyRuntimeError>(py) => {}
            Err(error) => {
                let living = object.get().living().ok().flatten();
                self.note(py, living.as_ref(), error);
            }
            Ok(()) => {}
        }
        if is_lendable {
            dropped::lend(object.bind(py));
        }
    }

    pub(crate) fn add_wake(&self, object: &Py<Connection>) {
        self.wakes.borrow_mut().push(object.clone_ref(self.py()));
        self.turn_wanted();
    }
}

/// Have a connection's task woken when the engine runs next.
pub(crate) fn wake_later(connection: &Connection, object: Py<Connection>) -> PyResult<()> {
    let Some(living) = connection.living()? else {
        return Ok(());
    };
    let host = &living.engine().host;
    host.wakes.borrow_mut().push(object);
    host.turn_wanted();
    Ok(())
}
