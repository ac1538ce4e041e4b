//! Received bytes straight into an `asyncio.StreamReader`: what the methods `data_received` of
//! `StreamReaderProtocol` and `feed_data` of `StreamReader` do, for these two classes themselves.
//! The methods of subclasses are called.

use crate::calls::Invoke as _;
use crate::imports;
use crate::owned::release_result;
use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyWeakrefReference};

/// The reader that a `StreamReaderProtocol` feeds, where it can be fed here.
pub(super) fn reader_of<'py>(protocol: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = protocol.py();
    let reference = protocol.getattr(pyo3::intern!(py, "_stream_reader_wr"))?;
    let Ok(reference) = reference.cast::<PyWeakrefReference>() else {
        return Ok(None);
    };
    let Some(reader) = reference.upgrade() else {
        return Ok(None);
    };
    if !reader.get_type().is(imports::stream_reader(py)?) {
        return Ok(None);
    }
    let is_over = reader.getattr(pyo3::intern!(py, "_eof"))?.is_truthy()?;
    Ok((!is_over).then_some(reader))
}

/// Add bytes to a reader's buffer, and wake the task that waits for them.
pub(super) fn feed(reader: &Bound<'_, PyAny>, bytes: &[u8]) -> PyResult<()> {
    let py = reader.py();
    let buffer = reader.getattr(pyo3::intern!(py, "_buffer"))?;
    let buffer = buffer.cast_into::<PyByteArray>()?;
    let before = buffer.len();
    let size = before
        .checked_add(bytes.len())
        .ok_or_else(|| PyMemoryError::new_err(()))?;
    buffer.resize(size)?;
    // SAFETY: attached, with the GIL: nobody else has the array's memory, which has this room.
    unsafe {
        let start = ffi::PyByteArray_AS_STRING(buffer.as_ptr()).cast::<u8>();
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), start.add(before), bytes.len());
    }
    let waiter = reader.getattr(pyo3::intern!(py, "_waiter"))?;
    if !waiter.is_none() {
        reader.setattr(pyo3::intern!(py, "_waiter"), py.None())?;
        let is_cancelled = waiter.invoke_method(pyo3::intern!(py, "cancelled"), ())?;
        if !is_cancelled.is_truthy()? {
            let result = waiter.invoke_method(pyo3::intern!(py, "set_result"), (py.None(),))?;
            release_result(result);
        }
    }
    let limit: usize = reader.getattr(pyo3::intern!(py, "_limit"))?.extract()?;
    if size > limit.saturating_mul(2) {
        imports::pause_full_reader(py)?.invoke((reader,))?;
    }
    Ok(())
}
