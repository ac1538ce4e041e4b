//! The only crate that knows Python: `vespiary._core`.
//!
//! Only the thread of its loop may use the engine, which is checked at run time. Other threads use
//! queues (see `thread_calls`). So the module does not need the GIL, and declares that.

// Doc comments of what Python sees are Python docstrings, and its arguments come by value.
#![allow(
    clippy::doc_markdown,
    clippy::needless_pass_by_value,
    clippy::unused_self
)]
// What few connections have costs the others a pointer, and no more.
#![allow(clippy::box_collection)]

mod addresses;
mod arguments;
mod asgi;
mod attachment;
mod awaitable_classes;
mod awaitables;
mod board;
mod callback;
mod calls;
mod collecting;
mod confined;
mod connection;
mod context;
mod core;
mod datagram;
mod datagram_binding;
mod datagram_calls;
mod datagram_socket;
mod dropped;
mod ended;
mod endpoint;
mod engine_run;
mod event_loop;
mod events;
mod exchange;
mod exchange_events;
mod exchange_methods;
mod foreign_streams;
mod from_thread;
mod heap;
mod hooks;
mod host;
mod imports;
mod inbox;
mod listener;
mod load;
mod loop_handle;
mod methods;
mod once;
mod options;
mod owned;
mod parts;
mod payload;
mod ping;
mod process;
mod random;
mod report;
mod request;
mod response;
mod send;
mod senders;
mod shared_contexts;
mod simulation;
mod site;
mod statistics;
mod steps;
mod symbols;
mod tap;
mod task;
mod thread_calls;
mod thread_waits;
mod timer;
mod timers;
mod tls;
mod topics;
mod turns;
mod waiting;
mod wakes;
mod wanted;
mod watched;

use pyo3::ffi;
use pyo3::prelude::*;

/// The native half of Vespiary.
#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<core::Core>()?;
    module.add_class::<site::Site>()?;
    module.add_class::<listener::Listener>()?;
    module.add_class::<connection::Connection>()?;
    module.add_class::<datagram::Datagram>()?;
    module.add_class::<datagram_socket::DatagramSocket>()?;
    module.add_class::<hooks::Hooks>()?;
    module.add_class::<timer::Timer>()?;
    module.add_class::<topics::Topics>()?;
    module.add_function(wrap_pyfunction!(heap::keep_heap, module)?)?;
    process::register(module)?;
    asgi::register(module)?;
    board::register(module)?;
    datagram_binding::register(module)?;
    event_loop::register(module)?;
    exchange_events::register(module)?;
    load::register(module)?;
    symbols::register(module)?;
    options::register(module)?;
    tap::register(module)?;
    task::register(module)?;
    tls::register(module)?;
    let class = module.py().get_type::<connection::Connection>();
    dropped::register(&class);
    // SAFETY: attached; the definition lives as long as the process.
    let send = unsafe {
        let descriptor = ffi::PyDescr_NewMethod(class.as_type_ptr(), send::SEND.get());
        Bound::from_owned_ptr_or_err(module.py(), descriptor)?
    };
    class.setattr("send", send)
}
