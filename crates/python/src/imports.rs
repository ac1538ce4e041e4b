//! Python classes and functions that the native side raises and makes, imported once.

use crate::calls::Invoke as _;
use crate::once::once;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};
use vespiary_engine::{CloseReason, CompressionTraffic, Manner, Side};

macro_rules! imported {
    ($($module:literal: { $($function:ident = $name:literal,)* })*) => {
        $($(pub(crate) fn $function(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
            static CELL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
            let object = once(py, &CELL, || {
                py.import($module)?.getattr($name).map(Bound::unbind)
            })?;
            Ok(object.bind(py))
        })*)*
    };
}

imported! {
    "vespiary.errors": {
        close_reason_class = "CloseReason",
        connection_closed_class = "ConnectionClosed",
        send_refused_class = "SendRefused",
        write_queue_full_class = "WriteQueueFull",
        receive_conflict_class = "ReceiveConflict",
        driver_unavailable_class = "DriverUnavailable",
        thread_calls_full_class = "ThreadCallsFull",
    }
    "vespiary.request": {
        headers_class = "Headers",
        request_from_native = "request_from_native",
    }
    "vespiary.tls": {
        tls_info_class = "TLSInfo",
    }
    "vespiary._start_tls": {
        start_tls_options = "start_tls_options",
    }
    "vespiary.statistics": {
        connection_statistics_class = "ConnectionStatistics",
        compression_statistics_class = "CompressionStatistics",
    }
    "vespiary._logging": {
        handler_failed = "handler_failed",
        datagram_failed = "datagram_failed",
        limit_reached = "limit_reached",
        send_failed = "send_failed",
        accept_failed = "accept_failed",
        denied = "denied",
        rule_broken = "rule_broken",
        response_failed = "response_failed",
        message_cut = "message_cut",
        callback_failed = "callback_failed",
    }
    "vespiary._receiving": {
        receive_within = "receive_within",
    }
    "types": {
        generic_alias = "GenericAlias",
    }
    "vespiary._callbacks": {
        check_callback = "check_callback",
        refuse_coroutine = "refuse_coroutine",
    }
    "vespiary._filter_tasks": {
        start_filtering = "start_filtering",
    }
    "vespiary._fork": {
        end_child = "end_child",
    }
    "vespiary.loop._failures": {
        loop_callback_failed = "callback_failed",
    }
    "vespiary.loop._native": {
        checked_call_at = "checked_call_at",
    }
    "vespiary.loop._transport": {
        asyncios_write = "asyncios_write",
        pause_full_reader = "pause_full_reader",
        asyncios_pause_reading = "asyncios_pause_reading",
        asyncios_resume_reading = "asyncios_resume_reading",
    }
    "vespiary.http._http_call": {
        asgi_awaited = "awaited",
        asgi_failed = "failed",
        asgi_left_unfinished = "left_unfinished",
        asgi_log = "log",
        asgi_receive_later = "receive_later",
        asgi_wait_for_room = "wait_for_room",
        asgi_hint = "hint",
        asgi_send_file = "send_file",
        asgi_send_trailers = "send_trailers",
        asgi_unexpected = "unexpected",
        asgi_listed = "listed",
    }
    "vespiary.http._messages": {
        client_gone_class = "ClientGone",
        asgi_message_type = "message_type",
        asgi_status_of = "status_of",
        asgi_header_fault = "header_fault",
        asgi_unframed = "unframed",
        asgi_wrong_field = "wrong_field",
    }
    "asyncio.tasks": {
        enter_task = "_enter_task",
        leave_task = "_leave_task",
    }
    "urllib.parse": {
        unquote = "unquote",
    }
    "asyncio": {
        base_event_loop = "BaseEventLoop",
        future = "Future",
        task = "Task",
        stream_reader = "StreamReader",
    }
    "vespiary._hooks": {
        start_response = "start_response",
    }
}

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
    close_reason_class(py)?.invoke_with((side, kind), &keywords)
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
    compression_statistics_class(py)?.invoke_with((), &keywords)
}

/// `TLSInfo` of these fields.
pub(crate) fn tls_info(py: Python<'_>, fields: &Bound<'_, PyDict>) -> PyResult<Py<PyAny>> {
    tls_info_class(py)?
        .invoke_with((), fields)
        .map(Bound::unbind)
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
            class.invoke_method("from_reason", (reason, address))?,
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
