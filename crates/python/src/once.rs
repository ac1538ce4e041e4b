//! Objects that are made when they are first needed, and kept permanently.
//!
//! No lock is held while an object is created: this allocates memory, so the garbage collector may
//! run and call a finalizer that needs the same object, which would then wait forever. If two
//! threads create one, the second drops its own.

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
