//! A connection's counters, as the fields of `ConnectionStatistics`.

use crate::calls::Invoke as _;
use crate::core::Conn;
use crate::ended::Ended;
use crate::imports;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::rc::Rc;

/// What has happened on a connection, or had when it ended.
pub(crate) fn of_connection(
    py: Python<'_>,
    living: Option<&Rc<Conn>>,
    ended: Option<&Ended>,
) -> PyResult<Py<PyAny>> {
    let (traffic, compression) = match (living, ended) {
        (Some(it), _) => (it.traffic(), it.compression_statistics()),
        (None, Some(ended)) => (ended.traffic, ended.compression),
        (None, None) => Default::default(),
    };
    let (queued, open_seconds, dropped) = match (living, ended) {
        (Some(it), _) => (it.queued_bytes(), it.open_seconds(), it.dropped()),
        (None, Some(ended)) => (0, 0.0, ended.dropped),
        (None, None) => (0, 0.0, 0),
    };
    let keywords = PyDict::new(py);
    let compression = imports::compression_statistics(py, compression)?;
    keywords.set_item("compression", compression)?;
    keywords.set_item("bytes_received", traffic[0])?;
    keywords.set_item("bytes_sent", traffic[1])?;
    keywords.set_item("messages_received", traffic[2])?;
    keywords.set_item("messages_sent", traffic[3])?;
    keywords.set_item("messages_dropped", dropped)?;
    keywords.set_item("queued_bytes", queued)?;
    keywords.set_item("open_seconds", open_seconds)?;
    Ok(imports::connection_statistics_class(py)?
        .invoke_with((), &keywords)?
        .unbind())
}
