//! `Hooks`: the functions that an endpoint calls, by name. Python code creates it, and it is read
//! when the endpoint is created.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

macro_rules! hooks {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What an endpoint calls. A name that is not one of these is an error.
        #[pyclass(module = "vespiary._core", get_all, set_all)]
        #[derive(Default)]
        pub(crate) struct Hooks {
            $($(#[$doc])* pub(crate) $name: Option<Py<PyAny>>,)*
            /// Messages wait to be received: a client without a handler.
            pub(crate) receives: bool,
            /// Such a client stays open for sending when the peer has finished.
            pub(crate) half_close: bool,
            /// The request that opened a connection is kept for it.
            pub(crate) keeps_request: bool,
        }

        #[pymethods]
        impl Hooks {
            #[new]
            #[pyo3(signature = (
                *, $($name = None,)* receives = false, half_close = false, keeps_request = false
            ))]
            #[allow(clippy::too_many_arguments)] // One for each field, by name.
            fn new(
                $($name: Option<Py<PyAny>>,)*
                receives: bool,
                half_close: bool,
                keeps_request: bool,
            ) -> Self {
                Self { $($name,)* receives, half_close, keeps_request }
            }

            /// The same hooks, to be changed.
            fn copy(&self, py: Python<'_>) -> Self {
                Self {
                    $($name: self.$name.as_ref().map(|hook| hook.clone_ref(py)),)*
                    receives: self.receives,
                    half_close: self.half_close,
                    keeps_request: self.keeps_request,
                }
            }

            fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
                $(visit.call(&self.$name)?;)*
                Ok(())
            }

            fn __clear__(&mut self) {
                $(self.$name = None;)*
            }
        }
    };
}

hooks! {
    /// Called with a connection that is ready for messages.
    open,
    /// Called with a connection and a message.
    message,
    /// Called with a connection, a part, whether it is the last, and whether it is text.
    part,
    /// Called with a datagram.
    datagram,
    /// Called when the write queue has fallen to `write_low_bytes`.
    drain,
    /// Called with a connection and the topic or pattern that it has subscribed to.
    subscribe,
    /// Called with a connection and a topic or pattern that it is no longer subscribed to.
    unsubscribe,
    /// Called with a connection that has ended, and its CloseReason.
    close,
    /// Called with a connection that has ended: whether calls of its handler are still in progress.
    working,
    /// Called when the peer of a stream has finished sending.
    end,
    /// Called with a connection, the head of its request, and the header fields.
    request,
    /// Called with the exchange of a request whose head has come, instead of `request`: a host of
    /// applications.
    exchange,
    /// The pattern of the endpoint's path, for the parameters of its requests.
    path_pattern,
    /// Called with a limit's name and its value.
    limit,
    /// Called with a connection when the server is stopping.
    shutdown,
    /// Called with a connection, the callback of a timer of its that is due, and whether the timer
    /// repeats; without this hook the callback itself is called.
    timer,
    /// Starts the handler's task, where the handler is a coroutine function.
    spawn,
    /// Called when a client's connect has succeeded, before the handshake.
    connected,
    /// Called with the outcome of a client's connect and handshake: (connection, None, None, None)
    /// or (None, reason, headers, body).
    outcome,
    /// In asyncio's debug mode: called with the wake-up of a task that a message has woken, and the
    /// seconds that its step took.
    step,
    /// The filters, as two functions of a connection and bytes.
    filter_received,
    filter_sent,
}
