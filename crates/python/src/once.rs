//! Objects that are made when they are first needed, and kept permanently.
//!
//! Nothing is locked while one is made: making it allocates, so the collector may run and call a
//! finalizer that needs the same object. A lock would never be released then. If two threads make
//! one, the second drops its own.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// What `cell` holds; made now if it holds nothing.
pub(crate) fn once<'a, T>(
    py: Python<'_>,
    cell: &'a PyOnceLock<T>,
    make: impl FnOnce() -> PyResult<T>,
) -> PyResult<&'a T> {
    if cell.get(py).is_none() {
        drop(cell.set(py, make()?));
    }
    Ok(cell.get(py).expect("it was just set"))
}
