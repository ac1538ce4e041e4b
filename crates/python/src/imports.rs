//! Python classes and functions that the native side raises and makes, imported once.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};
use vespiary_engine::{CloseReason, CompressionTraffic, Manner, Side};

macro_rules! imported {
    ($(#[$doc:meta])* $function:ident, $module:literal, $name:literal) => {
        $(#[$doc])*
        pub(crate) fn $function(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
            static CELL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
            let object = CELL.get_or_try_init(py, || {
                py.import($module)?.getattr($name).map(Bound::unbind)
            })?;
            Ok(object.bind(py))
        }
    };
}

imported!(close_reason_class, "vespiary.errors", "CloseReason");
imported!(
    connection_closed_class,
    "vespiary.errors",
    "ConnectionClosed"
);
imported!(headers_class, "vespiary.request", "Headers");
imported!(send_refused_class, "vespiary.errors", "SendRefused");
imported!(write_queue_full_class, "vespiary.errors", "WriteQueueFull");
imported!(receive_conflict_class, "vespiary.errors", "ReceiveConflict");
imported!(
    connection_statistics_class,
    "vespiary.statistics",
    "ConnectionStatistics"
);
imported!(
    compression_statistics_class,
    "vespiary.statistics",
    "CompressionStatistics"
);
imported!(
    driver_unavailable_class,
    "vespiary.errors",
    "DriverUnavailable"
);
imported!(handler_failed, "vespiary._logging", "handler_failed");
imported!(limit_reached, "vespiary._logging", "limit_reached");
imported!(send_failed, "vespiary._logging", "send_failed");
imported!(accept_failed, "vespiary._logging", "accept_failed");
imported!(rule_broken, "vespiary._logging", "rule_broken");
imported!(response_failed, "vespiary._logging", "response_failed");
imported!(callback_failed, "vespiary._logging", "callback_failed");
imported!(
    request_from_native,
    "vespiary.request",
    "request_from_native"
);
imported!(receive_within, "vespiary._receiving", "receive_within");
imported!(generic_alias, "types", "GenericAlias");
imported!(end_child, "vespiary._fork", "end_child");
imported!(start_response, "vespiary._hooks", "start_response");
imported!(
    thread_calls_full_class,
    "vespiary.errors",
    "ThreadCallsFull"
);

/// `CloseReason` of the reason.
pub(crate) fn close_reason<'py>(
    py: Python<'py>,
    reason: &CloseReason,
) -> PyResult<Bound<'py, PyAny>> {
    let keywords = PyDict::new(py);
    let side = match reason.side {
        Side::Local => "local",
        Side::Remote => "remote",
    };
    let kind = match reason.manner {
        Manner::Closed => "closed",
        Manner::Broken => "broken",
    };
    keywords.set_item("code", reason.code)?;
    keywords.set_item("text", &reason.text)?;
    keywords.set_item("status", reason.status)?;
    if let Some(errno) = reason.errno() {
        let error = os_error(&std::io::Error::from_raw_os_error(errno.0));
        keywords.set_item("error", error.into_value(py))?;
    }
    close_reason_class(py)?.call((side, kind), Some(&keywords))
}

/// `CompressionStatistics` of what was counted and is held.
pub(crate) fn compression_statistics(
    py: Python<'_>,
    (traffic, memory): (CompressionTraffic, u64),
) -> PyResult<Bound<'_, PyAny>> {
    let keywords = PyDict::new(py);
    keywords.set_item("messages_received", traffic.messages_in)?;
    keywords.set_item("compressed_bytes_received", traffic.compressed_in)?;
    keywords.set_item("original_bytes_received", traffic.inflated_in)?;
    keywords.set_item("messages_sent", traffic.messages_out)?;
    keywords.set_item("compressed_bytes_sent", traffic.compressed_out)?;
    keywords.set_item("original_bytes_sent", traffic.plain_out)?;
    keywords.set_item("memory_bytes", memory)?;
    compression_statistics_class(py)?.call((), Some(&keywords))
}

/// `OSError(errno, strerror)`, so that Python finds both, and the subclass that belongs to the
/// errno.
pub(crate) fn os_error(error: &std::io::Error) -> PyErr {
    let text = error.to_string();
    let Some(errno) = error.raw_os_error() else {
        return PyOSError::new_err(text);
    };
    let story = text
        .strip_suffix(&format!(" (os error {errno})"))
        .unwrap_or(&text)
        .to_owned();
    PyOSError::new_err((errno, story))
}

/// The exception of the class that belongs to the reason.
pub(crate) fn closed_error(py: Python<'_>, reason: &CloseReason, address: &str) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let reason = close_reason(py, reason)?;
        let class = connection_closed_class(py)?;
        Ok(PyErr::from_value(
            class.call_method1("from_reason", (reason, address))?,
        ))
    };
    make().unwrap_or_else(|error| error)
}

/// An exception of a class of ours.
pub(crate) fn error(
    class: PyResult<&Bound<'_, PyAny>>,
    arguments: impl FnOnce(&Bound<'_, PyType>) -> PyResult<PyErr>,
) -> PyErr {
    let make = || -> PyResult<PyErr> { arguments(class?.cast::<PyType>()?) };
    make().unwrap_or_else(|error| error)
}
