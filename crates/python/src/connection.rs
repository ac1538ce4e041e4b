//! `vespiary.Connection`: the handler's view of a connection.
//!
//! The object exists longer than the engine's connection. When the connection ends, the reference
//! to it is removed, and the values that programs can still read (from any thread) are kept. If
//! another thread calls a method, the loop usually executes it (see `thread_calls`); methods that
//! return an awaitable raise an error there.

use crate::addresses::address_text;
use crate::confined::{Confine, Confined};
use crate::core::Conn;
use crate::ended::{Ended, EndedCell};
use crate::host::PyHost;
use crate::imports;
use crate::inbox::Inbox;
use crate::loop_handle::{LoopHandle, forked_error};
use crate::owned::Owned;
use crate::report;
use crate::request::KeptRequest;
use crate::thread_calls::{ThreadCall, on_loop, wrong_thread};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::{Cause, CloseReason, Place};
use vespiary_tls::Facts;

/// The reasons for which a host may pause reading.
pub(crate) const PAUSED_BY_USER: u8 = 1;
pub(crate) const PAUSED_BY_INBOX: u8 = 2;
pub(crate) const PAUSED_BY_POOL: u8 = 4;
pub(crate) const PAUSED_BY_FILTER: u8 = 8;
pub(crate) const PAUSED_BY_BODY: u8 = 16;

/// What only the loop's thread touches.
#[derive(Default)]
pub(crate) struct Local {
    pub(crate) connection: RefCell<Option<Rc<Conn>>>,
    pub(crate) inbox: OnceCell<Box<Inbox>>,
    pub(crate) request: KeptRequest,
    /// What it counts for after its end, while its handler works.
    pub(crate) place: Cell<Option<Box<Place<PyHost>>>>,
}

impl Local {
    /// The coroutine form's half, where the endpoint has that form.
    #[inline]
    pub(crate) fn inbox(&self) -> PyResult<&Inbox> {
        match self.inbox.get() {
            Some(inbox) => Ok(inbox),
            None => Err(no_inbox()),
        }
    }
}

#[cold]
fn no_inbox() -> PyErr {
    PyRuntimeError::new_err(
        "this connection hands its messages to a Handler's on_message; only a handler that is an \
         async function receives them",
    )
}

// SAFETY: without the engine's connection there are only references to Python objects, and plain
// values. The object is being dropped, so that nobody else borrows.
unsafe impl Confine for Local {
    fn is_independent(&self) -> bool {
        // SAFETY: nobody else has a reference, as above.
        let place = unsafe { &*self.place.as_ptr() };
        self.connection.borrow().is_none() && place.is_none()
    }
}

/// One client of a server, or a client's connection to a server.
///
/// You can call the methods from any thread. In a thread other than the loop's, methods that return
/// a value block until the loop has executed them. You cannot await there (RuntimeError): use
/// `server.call_soon_threadsafe` to run a function on the loop's thread.
///
/// `receive`, `ping`, `drain`, `close` and `wait_closed` return coroutines, which you can also pass
/// to `asyncio.create_task` and `gather`. `send` queues the message and returns an awaitable that
/// is not a coroutine. You need not await `send`, `ping` and `close`.
///
/// A coroutine handler iterates over the connection: `async for message in connection`. The
/// iteration ends when the peer closes the connection cleanly, and raises `ConnectionBroken`
/// otherwise.
#[pyclass(frozen, weakref, module = "vespiary._core")]
pub(crate) struct Connection {
    pub(crate) local: Confined<Local>,
    ended: EndedCell,
    pub(crate) data: Mutex<Option<Owned>>,
}

impl Connection {
    pub(crate) fn new(handle: Arc<LoopHandle>, connection: Rc<Conn>) -> Self {
        let local = Local {
            connection: RefCell::new(Some(connection)),
            ..Local::default()
        };
        Self {
            local: Confined::new(handle, local),
            ended: EndedCell::default(),
            data: Mutex::new(None),
        }
    }

    /// The connection's key in `Senders`.
    pub(crate) fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    pub(crate) fn handle(&self) -> &Arc<LoopHandle> {
        self.local.handle()
    }

    /// What only the loop's thread touches; an error elsewhere.
    #[inline]
    pub(crate) fn local(&self) -> PyResult<&Local> {
        self.local_for("this")
    }

    /// The same with the method that the error names.
    #[inline]
    fn local_for(&self, method: &str) -> PyResult<&Local> {
        self.local.get().ok_or_else(|| {
            if self.handle().is_forked() {
                forked_error()
            } else {
                wrong_thread(method)
            }
        })
    }

    /// The engine's connection, while there is one.
    pub(crate) fn living(&self) -> PyResult<Option<Rc<Conn>>> {
        Ok(self.local()?.connection.borrow().clone())
    }

    /// What is known once it has ended.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.get()
    }

    /// The engine's connection has ended: release it, and keep what is worth knowing.
    pub(crate) fn detach(&self, tls: Option<Box<Facts>>) {
        let Some(local) = self.local.get() else {
            return;
        };
        let Some(connection) = local.connection.take() else {
            return;
        };
        local.request.release_object();
        let reason = connection.reason();
        let reason = reason.unwrap_or_else(|| CloseReason::new(Cause::Aborted, ""));
        self.handle().senders().forget(self.key());
        self.ended.set(Box::new(Ended {
            url: connection.endpoint().host.url.borrow().clone(),
            lasting: connection.endpoint().host.lasting.clone(),
            reason,
            traffic: connection.traffic(),
            dropped: connection.dropped(),
            compression: connection.compression_statistics(),
            peer: connection.peer_address(),
            local_address: connection.local_address(),
            tls,
        }));
    }

    pub(crate) fn closed_error(&self, py: Python<'_>) -> PyErr {
        match self.ended() {
            Some(ended) => imports::closed_error(py, &ended.reason, &ended.peer_text()),
            None => imports::closed_error(py, &CloseReason::new(Cause::Aborted, ""), ""),
        }
    }

    /// Whether another thread has closed or aborted it.
    pub(crate) fn is_closed_elsewhere(&self) -> bool {
        self.ended.is_closed_elsewhere()
    }

    /// Whether another thread may still send: it has not ended, and no other thread has ended it.
    pub(crate) fn may_send_elsewhere(&self) -> bool {
        self.ended().is_none() && !self.is_closed_elsewhere()
    }

    /// Check that an awaitable is asked for on the loop's thread; `what` is the method.
    #[inline]
    pub(crate) fn check_thread(&self, what: &str) -> PyResult<()> {
        if self.local.get().is_none() && !self.handle().is_forked() {
            return Err(wrong_thread(what));
        }
        Ok(())
    }

    /// The coroutine form's half, where the endpoint has that form.
    #[inline]
    pub(crate) fn inbox(&self) -> PyResult<&Inbox> {
        self.inbox_for("this")
    }

    /// The same for a method of Python's, which an error names.
    #[inline]
    pub(crate) fn inbox_for(&self, method: &str) -> PyResult<&Inbox> {
        self.local_for(method)?.inbox()
    }

    /// The same in a forked child, where asyncio may still end the parent's tasks.
    pub(crate) fn inbox_in_child(&self) -> Option<&Inbox> {
        if !self.handle().is_forked() {
            return None;
        }
        // SAFETY: the parent's threads are not in this process, and those of the child come here
        // attached, one at a time.
        let local = unsafe { self.local.get_anywhere() };
        local.inbox.get().map(|inbox| &**inbox)
    }

    /// Run something on the loop's thread, while the calling thread waits.
    pub(crate) fn ask<T: Send + 'static>(
        slf: &Bound<'_, Self>,
        act: impl FnOnce(Python<'_>, &Bound<'_, Self>) -> PyResult<T> + Send + 'static,
    ) -> PyResult<T> {
        if slf.get().local.get().is_some() {
            return act(slf.py(), slf);
        }
        let object = slf.clone().unbind();
        on_loop(slf.py(), slf.get().handle(), move |py| {
            act(py, object.bind(py))
        })
    }

    /// The same with the engine's connection; an error once that has ended.
    pub(crate) fn ask_living<T: Send + 'static>(
        slf: &Bound<'_, Self>,
        act: impl FnOnce(Python<'_>, &Self, &Rc<Conn>) -> PyResult<T> + Send + 'static,
    ) -> PyResult<T> {
        Self::ask(slf, |py, slf| {
            let this = slf.get();
            match this.living()? {
                Some(connection) => act(py, this, &connection),
                None => Err(this.closed_error(py)),
            }
        })
    }

    /// The same for a property, which has another value once the connection has ended.
    pub(crate) fn look<T: Send + 'static>(
        slf: &Bound<'_, Self>,
        living: impl FnOnce(&Rc<Conn>) -> T + Send + 'static,
        ended: impl FnOnce(Option<&Ended>) -> T + Send + 'static,
    ) -> PyResult<T> {
        if let Some(known) = slf.get().ended() {
            return Ok(ended(Some(known)));
        }
        Self::ask(slf, move |_, slf| {
            Ok(match slf.get().living()? {
                Some(connection) => living(&connection),
                None => ended(slf.get().ended()),
            })
        })
    }

    /// End it here, or have the loop do it.
    pub(crate) fn end(slf: &Bound<'_, Self>, call: ThreadCall) -> PyResult<()> {
        let this = slf.get();
        this.ended.close_elsewhere();
        if this.ended().is_some() || this.handle().is_forked() {
            // A child has nothing to close: the connection is its parent's.
            return Ok(());
        }
        this.handle().add(slf.py(), call)
    }
}

/// Close a connection. Where that leaves a message unfinished, its sender has failed, and the peer
/// gets 1011.
pub(crate) fn close(connection: &Rc<Conn>, code: u16, reason: &str) {
    if connection.would_cut_message(Code(code)) {
        report::message_cut(connection.engine().host.py(), connection);
    }
    connection.close(Code(code), reason);
}

pub(crate) fn peer_text(connection: &Rc<Conn>) -> String {
    address_text(connection.peer_address().as_ref())
}
