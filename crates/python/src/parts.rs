//! Messages in parts (`send_part`), each of which has one sender.
//!
//! A part does not contain the message that it belongs to, so parts of two senders would become one
//! message. The sender is recognised by a context variable of the connection. With the first part,
//! the variable gets a value for this message, in the context of the sender. Only code with this
//! value in its context may send the other parts: the same task or callback, and tasks and threads
//! that it has started since (`asyncio.wait_for`, `asyncio.to_thread`). With the last part the
//! variable is reset.

use crate::attachment::HasRare as _;
use crate::calls::Invoke as _;
use crate::connection::Connection;
use crate::context;
use crate::core::Conn;
use crate::from_thread;
use crate::imports;
use crate::send::with_payload;
use crate::wanted::Asker;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vespiary_engine::{Framing, State};

const NOT_THE_SENDER: &str = "another task or callback is sending a message in parts on this \
    connection: send all parts of a message in one task. If several tasks send such messages, hold \
    an asyncio.Lock while you send one; in threads, hold a threading.Lock";

/// The sender of a message in parts.
pub(crate) struct Sender {
    variable: Py<PyAny>,
    /// The variable's value for the message that is in progress.
    message: Option<Py<PyAny>>,
    token: Token,
}

/// What resets the variable, in the context in which it was set.
type Token = Arc<Mutex<Option<Py<PyAny>>>>;

/// The rest to be done in the sender's context.
enum Step {
    Begin(Py<PyAny>, Py<PyAny>, Token),
    End(Py<PyAny>, Token),
}

/// What `Connection.send_part` does.
pub(crate) fn send(
    slf: &Bound<'_, Connection>,
    data: Py<PyAny>,
    last: bool,
    compress: Option<bool>,
) -> PyResult<()> {
    let py = slf.py();
    let is_here = slf.get().local.get().is_some();
    let senders = if is_here {
        None
    } else {
        Some(context::copy_current(py)?)
    };
    let step: Arc<Mutex<Option<Step>>> = Arc::default();
    let slot = step.clone();
    let act = move |py: Python<'_>, data: &Py<PyAny>, connection: &Rc<Conn>| {
        check(py, connection, senders.as_ref())?;
        let sent = with_payload(data.bind(py), |kind, payload| {
            connection.send_part(kind, payload, last, compress)
        })?;
        if sent == Ok(()) {
            *lock(&slot) = note(py, connection, last)?;
        }
        Ok(sent)
    };
    let sent = if is_here {
        Connection::ask_living(slf, move |py, this, connection| {
            let asker = Asker::new(&connection.engine().host);
            act(py, &data, connection)?
                .map_err(|error| this.send_error(py, connection, error, Some(data.bind(py))))?;
            asker.finish(py)
        })
    } else {
        from_thread::send(slf, None, compress, data, act)
    };
    // Where the part was sent, and then something was raised, its sender is known nevertheless.
    let step = lock(&step).take();
    let noted = step.map_or(Ok(()), |step| step.take(py));
    sent.and(noted)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Check that a message that is in progress is the sender's.
fn check(py: Python<'_>, connection: &Rc<Conn>, senders: Option<&Py<PyAny>>) -> PyResult<()> {
    if connection.state() != State::Open {
        // Nothing can be sent any more, so the sender gets this error.
        return Ok(());
    }
    let known = connection.rare(|rare| {
        let sender = rare.part_sender.as_ref()?;
        let message = sender.message.as_ref()?.clone_ref(py);
        Some((sender.variable.clone_ref(py), message))
    });
    let Some((variable, message)) = known.flatten() else {
        return Ok(());
    };
    let value = match senders {
        // A copy of the sender's, which is on another thread.
        Some(context) => context::value(py, context, &variable)?,
        None => context::current_value(py, &variable)?,
    };
    if value.is_some_and(|value| value.is(&message)) {
        return Ok(());
    }
    Err(imports::error(imports::send_refused_class(py), |class| {
        Ok(PyErr::from_value(class.invoke((NOT_THE_SENDER,))?))
    }))
}

/// A part was sent.
fn note(py: Python<'_>, connection: &Rc<Conn>, last: bool) -> PyResult<Option<Step>> {
    if connection.endpoint().options().framing != Framing::WebSocket {
        return Ok(None);
    }
    let is_under_way = connection.rare(|rare| {
        let sender = rare.part_sender.as_ref();
        sender.map(|sender| sender.message.is_some())
    });
    match (is_under_way, last) {
        (Some(Some(true)), true) => {
            let step = connection.rare(|rare| rare.part_sender.as_mut()?.end(py));
            Ok(step.flatten())
        }
        (Some(is_under_way), false) if is_under_way != Some(true) => {
            // Objects are made while nothing is borrowed, as the collector may run meanwhile.
            let made = match is_under_way {
                Some(_) => None,
                None => Some(Sender::new(py)?),
            };
            let message = PyList::empty(py).into_any().unbind();
            let step = connection.rare(|rare| {
                rare.part_sender = rare.part_sender.take().or(made);
                Some(rare.part_sender.as_mut()?.begin(py, message))
            });
            Ok(step.flatten())
        }
        _ => Ok(None),
    }
}

impl Sender {
    fn new(py: Python<'_>) -> PyResult<Box<Self>> {
        Ok(Box::new(Self {
            variable: context::variable(py, c"vespiary_message_in_parts")?,
            message: None,
            token: Token::default(),
        }))
    }

    /// Another message begins.
    fn begin(&mut self, py: Python<'_>, message: Py<PyAny>) -> Step {
        self.message = Some(message.clone_ref(py));
        self.token = Token::default();
        Step::Begin(self.variable.clone_ref(py), message, self.token.clone())
    }

    /// The message ends, if one is in progress.
    fn end(&mut self, py: Python<'_>) -> Option<Step> {
        self.message.take()?;
        Some(Step::End(self.variable.clone_ref(py), self.token.clone()))
    }
}

impl Step {
    fn take(self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Begin(variable, message, token) => {
                *lock(&token) = Some(context::set(py, &variable, &message)?);
            }
            Self::End(variable, token) => {
                if let Some(token) = lock(&token).take() {
                    // In another context than that of the first part it cannot be reset, and its
                    // value, an empty list, stays there.
                    context::reset(py, &variable, &token);
                }
            }
        }
        Ok(())
    }
}
