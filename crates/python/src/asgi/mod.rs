//! Calls of ASGI applications for HTTP requests.
//!
//! A request is one call of the application, whose coroutine nearly always ends in its first step:
//! it computes an answer and sends it. So everything on this way is native. The scope is copied
//! from a template ([`scope`]); `receive` and `send` are awaitables that are done at once
//! ([`message`], [`messages`]); the coroutine is driven without a task until it has to wait
//! ([`start`]). What is rare is Python code, in `vespiary.http._http_call`: exceptions,
//! cancellations, trailers, files, and waiting itself.

pub(crate) mod application;
mod call;
mod message;
mod messages;
mod scope;
mod start;

use pyo3::prelude::*;
pub(crate) use scope::{Kept, field_object};

/// Add it to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<application::Application>()?;
    module.add_class::<call::HttpCall>()
}
