//! Handles: `asyncio.Handle` and `asyncio.TimerHandle`, made and run without their Python code.

use super::ends_loop;
use super::slots::Slot;
use crate::calls::Invoke as _;
use crate::context::Entered;
use crate::imports;
use crate::process;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyFloat, PyTuple, PyType};

/// The classes, and where their fields are.
pub(super) struct Layout {
    handle: Py<PyType>,
    timer: Py<PyType>,
    callback: Slot,
    arguments: Slot,
    cancelled: Slot,
    event_loop: Slot,
    traceback: Slot,
    text: Slot,
    context: Slot,
    scheduled: Slot,
    when: Slot,
}

/// None where asyncio's handles are not what they are in the versions of CPython that we know.
pub(super) fn layout(py: Python<'_>) -> Option<&'static Layout> {
    static LAYOUT: PyOnceLock<Option<Layout>> = PyOnceLock::new();
    let layout = crate::once::once(py, &LAYOUT, || Ok(Layout::read(py)));
    layout.ok()?.as_ref()
}

impl Layout {
    fn read(py: Python<'_>) -> Option<Self> {
        let events = py.import("asyncio.events").ok()?;
        let class = |name| events.getattr(name).ok()?.cast_into::<PyType>().ok();
        let (handle, timer) = (class("Handle")?, class("TimerHandle")?);
        Some(Self {
            callback: Slot::of(&handle, "_callback")?,
            arguments: Slot::of(&handle, "_args")?,
            cancelled: Slot::of(&handle, "_cancelled")?,
            event_loop: Slot::of(&handle, "_loop")?,
            traceback: Slot::of(&handle, "_source_traceback")?,
            text: Slot::of(&handle, "_repr")?,
            context: Slot::of(&handle, "_context")?,
            scheduled: Slot::of(&timer, "_scheduled")?,
            when: Slot::of(&timer, "_when")?,
            handle: handle.unbind(),
            timer: timer.unbind(),
        })
    }

    fn make<'py>(
        &self,
        class: &Py<PyType>,
        event_loop: &Bound<'py, PyAny>,
        callback: &Bound<'py, PyAny>,
        arguments: Bound<'py, PyTuple>,
        context: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = event_loop.py();
        let context = match context {
            Some(context) => context,
            None => crate::context::copy_current(py)?.into_bound(py),
        };
        // SAFETY: attached; the class is a heap type, and makes objects whose slots are empty.
        // What is put into them is a reference for each.
        unsafe {
            let object = ffi::PyType_GenericAlloc(class.as_ptr().cast(), 0);
            let made = Bound::from_owned_ptr_or_err(py, object)?;
            self.context.fill(object, context.into_ptr());
            self.event_loop.fill(object, event_loop.clone().into_ptr());
            self.callback.fill(object, callback.clone().into_ptr());
            self.arguments.fill(object, arguments.into_ptr());
            self.cancelled.set_bool(object, false);
            self.text.fill(object, py.None().into_ptr());
            self.traceback.fill(object, py.None().into_ptr());
            Ok(made)
        }
    }

    /// An `asyncio.Handle`, outside of debug mode. Default of the context: a copy of the current.
    pub(super) fn make_handle<'py>(
        &self,
        event_loop: &Bound<'py, PyAny>,
        callback: &Bound<'py, PyAny>,
        arguments: Bound<'py, PyTuple>,
        context: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.make(&self.handle, event_loop, callback, arguments, context)
    }

    /// An `asyncio.TimerHandle` that is scheduled.
    pub(super) fn make_timer<'py>(
        &self,
        event_loop: &Bound<'py, PyAny>,
        when: Bound<'py, PyAny>,
        callback: &Bound<'py, PyAny>,
        arguments: Bound<'py, PyTuple>,
        context: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let timer = self.make(&self.timer, event_loop, callback, arguments, context)?;
        // SAFETY: attached; a timer that was just made.
        unsafe {
            self.when.fill(timer.as_ptr(), when.into_ptr());
            self.scheduled.set_bool(timer.as_ptr(), true);
        }
        Ok(timer)
    }

    /// Whether it is one of asyncio's two classes, whose fields are known.
    #[inline]
    fn is_plain(&self, handle: &Bound<'_, PyAny>) -> bool {
        let class = handle.get_type_ptr();
        class == self.handle.as_ptr().cast() || class == self.timer.as_ptr().cast()
    }

    pub(super) fn is_cancelled(&self, handle: &Bound<'_, PyAny>) -> PyResult<bool> {
        if self.is_plain(handle) {
            // SAFETY: attached; a handle.
            return Ok(unsafe { self.cancelled.is_true(handle.as_ptr()) });
        }
        let py = handle.py();
        handle.getattr(pyo3::intern!(py, "_cancelled"))?.is_truthy()
    }

    pub(super) fn is_scheduled(&self, timer: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = timer.py();
        timer.getattr(pyo3::intern!(py, "_scheduled"))?.is_truthy()
    }

    /// It is no longer among the timers.
    pub(super) fn unschedule(&self, timer: &Bound<'_, PyAny>) {
        if timer.get_type_ptr() == self.timer.as_ptr().cast() {
            // SAFETY: attached; a timer.
            unsafe { self.scheduled.set_bool(timer.as_ptr(), false) };
        } else {
            let py = timer.py();
            let _ = timer.setattr(pyo3::intern!(py, "_scheduled"), false);
        }
    }

    /// Run a handle that is not cancelled. Errors are those that end the loop.
    pub(super) fn run(&self, handle: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = handle.py();
        if !self.is_plain(handle) {
            return handle
                .invoke_method(pyo3::intern!(py, "_run"), ())
                .map(drop);
        }
        match self.call(handle) {
            Ok(()) => Ok(()),
            Err(error) if ends_loop(py, &error) => Err(error),
            Err(error) => report(handle, error),
        }
    }

    #[inline]
    fn call(&self, handle: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = handle.py();
        // The callback may cancel its handle, which empties the fields.
        // SAFETY: attached; a handle.
        let fields = unsafe {
            let callback = self.callback.reference(py, handle.as_ptr());
            let arguments = self.arguments.reference(py, handle.as_ptr());
            let context = self.context.reference(py, handle.as_ptr());
            callback.zip(arguments).zip(context)
        };
        let Some(((callback, arguments), context)) = fields else {
            return Ok(());
        };
        let Ok(arguments) = arguments.cast_into::<PyTuple>() else {
            // Cancelled by another thread.
            return Ok(());
        };
        let context = context.unbind();
        let entered = Entered::enter(py, &context)?;
        let given = arguments.as_slice();
        // SAFETY: attached; a tuple's items are pointers to objects that live as long as it, and a
        // `Bound` is such a pointer.
        let result = unsafe {
            let result = process::vectorcall(callback.as_ptr(), given.as_ptr().cast(), given.len());
            Bound::from_owned_ptr_or_err(py, result)
        };
        if !entered.leave() {
            let error = PyErr::fetch(py);
            return Err(result.err().unwrap_or(error));
        }
        crate::owned::release_result(result?);
        Ok(())
    }
}

/// Give the exception of a callback to the loop's handler of exceptions.
#[cold]
fn report(handle: &Bound<'_, PyAny>, error: PyErr) -> PyResult<()> {
    let py = handle.py();
    let error = error.into_value(py);
    imports::loop_callback_failed(py)?
        .invoke((handle, error))
        .map(drop)
}

/// A moment as a float object.
pub(super) fn moment(py: Python<'_>, seconds: f64) -> Bound<'_, PyAny> {
    PyFloat::new(py, seconds).into_any()
}
