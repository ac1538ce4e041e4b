//! `HttpCall`: one call of an application, and the coroutine that it is for a task.
//!
//! A task that takes a call over drives it by the coroutine protocol (PEP 342, PEP 492); each step
//! goes to the application's own coroutine. What follows its end (an answer of status 500 for an
//! exception, the log) happens within the same step.

use super::application::Application;
use super::message::{Message, Way, reused};
use crate::calls::{Invoke as _, InvokeOwned as _};
use crate::confined::{Confine, Confined};
use crate::exchange::Exchange;
use crate::imports;
use crate::owned::Owned;
use crate::process::{self, Iterated};
use crate::steps;
use crate::thread_calls::wrong_thread;
use crate::waiting;
use pyo3::exceptions::{PyAttributeError, PyStopIteration};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use std::cell::{Cell, RefCell};
use std::mem::take;

/// What is expected of the application next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
#[repr(u8)]
pub(super) enum Stage {
    /// `http.response.start`.
    Start,
    /// Its first body.
    FirstBody,
    /// Further ones.
    Body,
    /// Trailers.
    Trailers,
    /// Nothing.
    Done,
}

/// One HTTP request that an application answers. Only the loop's thread may use it.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct HttpCall {
    pub(super) application: Py<Application>,
    pub(super) exchange: Py<Exchange>,
    local: Confined<Local>,
}

pub(super) struct Local {
    pub(super) stage: Cell<Stage>,
    pub(super) status: Cell<u16>,
    /// The header fields of the response, until they are sent.
    pub(super) headers: Cell<Option<Py<PyAny>>>,
    pub(super) has_trailers: Cell<bool>,
    /// The application has got the whole request.
    pub(super) is_received: Cell<bool>,
    /// The application has got `http.disconnect`.
    pub(super) has_told: Cell<bool>,
    /// A piece of the request's body that was taken ahead.
    pub(super) next: Cell<Option<Py<PyBytes>>>,
    is_watching: Cell<bool>,
    waiters: RefCell<Vec<Py<PyAny>>>,
    /// There until the application is called.
    scope: Cell<Option<Py<PyDict>>>,
    coroutine: Cell<Option<Owned>>,
    has_begun: Cell<bool>,
    task: Cell<Option<Owned>>,
}

// SAFETY: there are only plain values and references to Python objects.
unsafe impl Confine for Local {
    fn is_independent(&self) -> bool {
        true
    }
}

/// How a step has ended.
pub(super) enum Step {
    /// The call is over.
    Over,
    /// What it waits for.
    Waits(Py<PyAny>),
}

impl HttpCall {
    pub(super) fn new(
        application: &Bound<'_, Application>,
        exchange: Py<Exchange>,
        scope: Bound<'_, PyDict>,
    ) -> Self {
        let handle = exchange.get().local.handle().clone();
        let local = Local {
            stage: Cell::new(Stage::Start),
            status: Cell::new(0),
            headers: Cell::new(None),
            has_trailers: Cell::new(false),
            is_received: Cell::new(false),
            has_told: Cell::new(false),
            next: Cell::new(None),
            is_watching: Cell::new(false),
            waiters: RefCell::default(),
            scope: Cell::new(Some(scope.unbind())),
            coroutine: Cell::new(None),
            has_begun: Cell::new(false),
            task: Cell::new(None),
        };
        Self {
            application: application.clone().unbind(),
            exchange,
            local: Confined::new(handle, local),
        }
    }

    pub(super) fn local(&self) -> PyResult<&Local> {
        self.local.get().ok_or_else(|| wrong_thread("a call"))
    }

    /// A task has taken the call over. It is held until it has ended: asyncio itself holds a task
    /// only weakly.
    pub(super) fn keep_task(slf: &Bound<'_, Self>, task: Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        drop(
            slf.get()
                .local()?
                .task
                .replace(Some(Owned::new(task.unbind()))),
        );
        let calls = &slf.get().application.get().calls;
        calls
            .invoke_method(py, pyo3::intern!(py, "add"), (slf,))
            .map(drop)
    }

    /// Run until the application waits, or has ended.
    pub(super) fn step(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Step> {
        let local = slf.get().local()?;
        if !local.has_begun.replace(true)
            && let Some(scope) = local.scope.take()
        {
            match Self::begin(slf, &scope) {
                Ok(coroutine) => drop(local.coroutine.replace(Some(coroutine))),
                Err(error) => return Self::raised(slf, error),
            }
        }
        let Some(coroutine) = local.coroutine.take() else {
            return Err(reused());
        };
        // It may be asked for while it runs.
        let running = coroutine.clone_ref(slf.py());
        drop(local.coroutine.replace(Some(coroutine)));
        // SAFETY: attached; the coroutine and the value are alive.
        let iterated = unsafe { process::iterate(slf.py(), running.as_ptr(), value.as_ptr()) };
        Self::stepped(slf, iterated)
    }

    fn stepped(slf: &Bound<'_, Self>, iterated: Iterated) -> PyResult<Step> {
        match iterated {
            Iterated::Next(awaited) => Ok(Step::Waits(awaited)),
            Iterated::Returned(_) => Self::returned(slf).map(|()| Step::Over),
            Iterated::Raised(error) => Self::raised(slf, error),
        }
    }

    /// Call the application; its coroutine.
    fn begin(slf: &Bound<'_, Self>, scope: &Py<PyDict>) -> PyResult<Owned> {
        let py = slf.py();
        let receive = slf.getattr(pyo3::intern!(py, "receive"))?;
        let transmit = slf.getattr(pyo3::intern!(py, "transmit"))?;
        let app = &slf.get().application.get().app;
        let arguments = [scope.as_ptr(), receive.as_ptr(), transmit.as_ptr()];
        // SAFETY: attached; all are alive.
        let made = unsafe {
            let made = process::vectorcall(app.as_ptr(), arguments.as_ptr(), arguments.len());
            Bound::from_owned_ptr_or_err(py, made)?
        };
        // SAFETY: it is asked for its type only.
        if unsafe { ffi::PyCoro_CheckExact(made.as_ptr()) } != 0 {
            return Ok(Owned::new(made.unbind()));
        }
        let coroutine = imports::asgi_awaited(py)?.invoke((made,))?;
        Ok(Owned::new(coroutine.unbind()))
    }

    /// The application has returned.
    fn returned(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let local = this.local()?;
        let checked = if local.stage.get() == Stage::Done || this.is_disconnected()? {
            Ok(())
        } else {
            let left = imports::asgi_left_unfinished(slf.py());
            left.and_then(|left| left.invoke((slf,))).map(drop)
        };
        Self::end(slf)?;
        checked
    }

    /// The application has raised an exception. One that cancels the task is passed on.
    #[cold]
    fn raised(slf: &Bound<'_, Self>, error: PyErr) -> PyResult<Step> {
        let py = slf.py();
        let value = error.into_value(py).into_bound(py);
        let failed = imports::asgi_failed(py).and_then(|failed| failed.invoke((slf, &value)));
        let is_passed_on = failed.and_then(|failed| failed.is_truthy());
        Self::end(slf)?;
        if is_passed_on? {
            return Err(PyErr::from_value(value.into_any()));
        }
        Ok(Step::Over)
    }

    /// The call is over.
    fn end(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let local = this.local()?;
        let kept = (
            local.coroutine.take(),
            local.headers.take(),
            local.scope.take(),
        );
        drop(kept);
        let application = this.application.get();
        if let Some(task) = local.task.take() {
            let calls = &application.calls;
            calls.invoke_method(py, pyo3::intern!(py, "discard"), (slf,))?;
            drop(task);
        }
        if application.has_access_log {
            imports::asgi_log(py)?.invoke((slf,))?;
        }
        Ok(())
    }

    pub(super) fn is_disconnected(&self) -> PyResult<bool> {
        self.exchange.get().is_disconnected()
    }

    /// The response is complete: wake what waits for more of the request.
    pub(super) fn complete(&self, py: Python<'_>) -> PyResult<()> {
        self.local()?.stage.set(Stage::Done);
        self.wake_waiters(py)
    }

    fn wake_waiters(&self, py: Python<'_>) -> PyResult<()> {
        let waiters = take(&mut *self.local()?.waiters.borrow_mut());
        for waiter in waiters {
            waiting::settle(py, &waiter, "set_result", py.None())?;
        }
        Ok(())
    }

    fn inner(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let local = self.local()?;
        let coroutine = local.coroutine.take();
        let found = coroutine.as_ref().map(|it| it.clone_ref(py));
        drop(local.coroutine.replace(coroutine));
        Ok(found)
    }
}

#[pymethods]
impl HttpCall {
    /// Return an awaitable for the next piece of the request's body, or that the client has
    /// disconnected.
    fn receive(slf: &Bound<'_, Self>) -> Message {
        Message::new(slf, Way::Receive)
    }

    /// Return an awaitable that sends a part of the response.
    ///
    /// Raises:
    ///     OSError: the client has disconnected.
    ///     RuntimeError: the message cannot be sent now.
    ///     TypeError: the message, or a field of it, is of a wrong type.
    ///     ValueError: a field has a value that cannot be sent.
    fn transmit(slf: &Bound<'_, Self>, message: Py<PyAny>) -> Message {
        Message::new(slf, Way::Send(message))
    }

    /// Take a step: the coroutine protocol.
    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match Self::step(slf, value)? {
            Step::Waits(awaited) => Ok(awaited),
            Step::Over => Err(PyStopIteration::new_err(())),
        }
    }

    /// Raise an exception where the application waits.
    #[pyo3(signature = (*error))]
    fn throw(slf: &Bound<'_, Self>, error: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let Some(coroutine) = slf.get().inner(py)? else {
            slf.get().local()?.has_begun.set(true);
            return Err(steps::thrown(error));
        };
        let name = pyo3::intern!(py, "throw");
        let iterated = match coroutine.invoke_method(py, name, error.clone()) {
            Ok(awaited) => Iterated::Next(awaited),
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
                Iterated::Returned(py.None())
            }
            Err(error) => Iterated::Raised(error),
        };
        match Self::stepped(slf, iterated)? {
            Step::Waits(awaited) => Ok(awaited),
            Step::Over => Err(PyStopIteration::new_err(())),
        }
    }

    /// End it.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        slf.get().local()?.has_begun.set(true);
        let Some(coroutine) = slf.get().inner(py)? else {
            return Ok(());
        };
        let closed = coroutine.invoke_method(py, pyo3::intern!(py, "close"), ());
        Self::end(slf)?;
        closed.map(drop)
    }

    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let none = slf.py().None();
        match Self::step(slf, none.bind(slf.py()))? {
            Step::Waits(awaited) => Ok(Some(awaited)),
            Step::Over => Ok(None),
        }
    }

    /// asyncio and anyio describe a task by its coroutine's name, code and frame.
    fn __getattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let text = name.to_cow()?;
        let is_coroutines = text.starts_with("cr_") || text == "__name__" || text == "__qualname__";
        match slf.get().inner(py)? {
            Some(coroutine) if is_coroutines => Ok(coroutine.bind(py).getattr(name)?.unbind()),
            _ => Err(PyAttributeError::new_err(format!(
                "'HttpCall' object has no attribute '{text}'"
            ))),
        }
    }

    /// The request and its response.
    #[getter]
    fn exchange(&self, py: Python<'_>) -> Py<Exchange> {
        self.exchange.clone_ref(py)
    }

    /// What is expected next, as a number.
    #[getter]
    fn stage(&self) -> PyResult<u8> {
        Ok(self.local()?.stage.get() as u8)
    }

    /// The status of the response; 0 where there is none yet.
    #[getter]
    fn get_status(&self) -> PyResult<u16> {
        Ok(self.local()?.status.get())
    }

    #[setter]
    fn set_status(&self, status: u16) -> PyResult<()> {
        self.local()?.status.set(status);
        Ok(())
    }

    /// Whether the application has got `http.disconnect`.
    #[getter]
    fn get_has_told(&self) -> PyResult<bool> {
        Ok(self.local()?.has_told.get())
    }

    #[setter]
    fn set_has_told(&self, has_told: bool) -> PyResult<()> {
        self.local()?.has_told.set(has_told);
        Ok(())
    }

    /// Send the head of the response; whether a body may follow it.
    fn start(slf: &Bound<'_, Self>) -> PyResult<bool> {
        slf.get().send_head(slf.py())
    }

    /// The response is complete.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        self.complete(py)
    }

    /// Return the message that `receive` gives, where it is there.
    fn poll(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.received(py)
    }

    /// Return a future that is done when something may have changed.
    fn watch(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let local = slf.get().local()?;
        if !local.is_watching.replace(true) {
            let wake = slf.getattr(pyo3::intern!(py, "wake"))?;
            slf.get().exchange.get().set_waker(Some(wake.unbind()))?;
        }
        let name = pyo3::intern!(py, "create_future");
        let waiter = waiting::running_loop(py)?.invoke_method(py, name, ())?;
        local.waiters.borrow_mut().push(waiter.clone_ref(py));
        Ok(waiter)
    }

    /// Wait no longer for this future.
    fn forget(&self, waiter: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut waiters = self.local()?.waiters.borrow_mut();
        let place = waiters.iter().position(|it| it.is(waiter));
        let forgotten = place.map(|place| waiters.swap_remove(place));
        drop(waiters);
        drop(forgotten);
        Ok(())
    }

    /// Something may have changed.
    fn wake(&self, py: Python<'_>) -> PyResult<()> {
        self.wake_waiters(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.application)?;
        visit.call(&self.exchange)?;
        // SAFETY: see `collecting`; what is taken meanwhile is put back before anybody else runs.
        let local = unsafe { self.local.get_anywhere() };
        if let Ok(waiters) = local.waiters.try_borrow() {
            for waiter in &*waiters {
                visit.call(waiter)?;
            }
        }
        // SAFETY: as above.
        unsafe {
            visit.call(&*local.headers.as_ptr())?;
            visit.call(&*local.next.as_ptr())?;
            visit.call(&*local.scope.as_ptr())?;
            let owned = [&*local.coroutine.as_ptr(), &*local.task.as_ptr()];
            for owned in owned.into_iter().flatten() {
                owned.visit(&visit)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        // SAFETY: only garbage is cleared, which no other thread has.
        let local = unsafe { self.local.get_anywhere() };
        drop((local.headers.take(), local.scope.take()));
        drop((local.coroutine.take(), local.task.take()));
        drop(local.waiters.take());
    }
}
