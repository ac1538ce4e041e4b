//! The engine's events: each becomes a call of the handler's method, or of the coroutine's inbox.

use crate::attachment::{Attachment, HasRare as _};
use crate::connection::{PAUSED_BY_FILTER, PAUSED_BY_INBOX, PAUSED_BY_POOL};
use crate::core::Conn;
use crate::dropped;
use crate::endpoint::PyEndpoint;
use crate::host::PyHost;
use crate::imports;
use crate::inbox::Inbox;
use crate::payload::BytesPayload;
use crate::ping;
use crate::report::{log_denial, log_response_fault, log_rule_broken, report_event};
use crate::response;
use crate::task;
use crate::timer;
use crate::waiting;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};
use std::rc::Rc;
use vespiary_engine::port::timer::Fired;
use vespiary_engine::port::{Address, Arrival, Interest, Outcome};
use vespiary_engine::wire::http;
use vespiary_engine::{
    AfterEnd, Answer, Cause, CloseReason, DatagramSocket, Denial, Endpoint, Engine, Event,
    Filtered, Host, Kind, Layer, Place,
};

impl Host for PyHost {
    type Payload = BytesPayload;
    type Endpoint = PyEndpoint;
    type User = Attachment;
    const YIELDING: u8 = PAUSED_BY_INBOX | PAUSED_BY_POOL;
    const THROTTLING: u8 = PAUSED_BY_FILTER;

    fn route(&self, connection: &Rc<Conn>, request: &http::Request) -> Option<Rc<Endpoint<Self>>> {
        let front = connection.endpoint();
        let route = front.host.route.borrow();
        let Some(route) = route.as_ref() else {
            return Some(front.clone());
        };
        self.find_site(route, request).unwrap_or_else(|error| {
            self.note(self.py(), Some(connection), error);
            None
        })
    }

    fn request(&self, connection: &Rc<Conn>, request: http::Request, body: Vec<u8>) -> Answer {
        let endpoint = connection.asked_endpoint();
        // A WebSocket handshake is for `request`, even if a host of applications has both.
        if let Some(hook) = &endpoint.host.exchange
            && connection.version().is_none()
        {
            return self.hand_over_exchange(connection, hook, request);
        }
        let Some(hook) = &endpoint.host.request else {
            if let Ok(object) = self.object(connection)
                && let Ok(local) = object.get().local()
            {
                local
                    .request
                    .keep(&request, endpoint.host.pattern(self.py()));
            }
            return Answer::Accept {
                protocol: None,
                headers: Vec::new(),
            };
        };
        self.ask(connection, hook, &request, &body)
            .unwrap_or_else(|error| {
                self.note(self.py(), Some(connection), error);
                response::failed()
            })
    }

    fn body_piece(&self, connection: &Rc<Conn>, data: &[u8]) {
        self.tell(connection, |it, py| it.push(py, connection, data));
    }

    fn body_ended(&self, connection: &Rc<Conn>) {
        self.tell(connection, |it, py| it.complete(py, connection));
    }

    fn body_failed(&self, connection: &Rc<Conn>, reason: &CloseReason) {
        self.tell(connection, |it, py| {
            it.end_early(py, connection, reason.clone());
        });
    }

    fn requester_finished(&self, connection: &Rc<Conn>) {
        self.tell(connection, |it, py| it.note_peer_finished(py, connection));
    }

    fn has_room(&self, connection: &Rc<Conn>) {
        self.tell(connection, |it, py| it.wake(py, connection));
    }

    fn connected(&self, connection: &Rc<Conn>) {
        let Some(hook) = &connection.endpoint().host.connected else {
            return;
        };
        let called = self.object(connection).and_then(|object| {
            // SAFETY: the object is alive.
            unsafe { hook.call(self.py(), &[object.as_ptr()]) }
        });
        if let Err(error) = called {
            self.failed(connection, error);
        }
    }

    fn opened(&self, connection: &Rc<Conn>) {
        let endpoint = &connection.endpoint().host;
        let opened = self.object(connection).and_then(|object| {
            if endpoint.has_inbox() {
                self.open_inbox(connection, &object)?;
            }
            Ok(object)
        });
        let object = match opened {
            Ok(object) => object,
            Err(error) => return self.failed(connection, error),
        };
        if let Some(hook) = &endpoint.filter_sent
            && self.filter(connection, hook, &[], true) == Filtered::Failed
        {
            // A filter failed as it began.
            return connection.abort();
        }
        if let Some(hook) = &endpoint.open {
            self.call_alone(connection, hook);
        }
        if !endpoint.keeps_request
            && let Ok(local) = object.get().local()
        {
            local.request.drop_unused();
        }
        if let Some(hook) = &endpoint.outcome {
            let none = self.py().None();
            let none = none.as_ptr();
            // SAFETY: both are alive.
            let called =
                unsafe { hook.call(self.py(), &[object.as_ptr(), none, none, none, none]) };
            if let Err(error) = called {
                self.failed(connection, error);
            }
            if endpoint.is_received_by_program() {
                dropped::begin(object.bind(self.py()));
            }
        }
    }

    #[inline]
    fn binary(&self, connection: &Rc<Conn>, payload: BytesPayload) {
        self.deliver(connection, payload.into_ptr());
    }

    #[inline]
    fn text(&self, connection: &Rc<Conn>, text: &str) {
        let start = text.as_ptr().cast();
        // SAFETY: attached; the pointer and the length are those of valid UTF-8.
        let message = unsafe { ffi::PyUnicode_FromStringAndSize(start, text.len() as isize) };
        if message.is_null() {
            // Short of memory: that fails this connection, and no other.
            return self.failed(connection, PyErr::fetch(self.py()));
        }
        self.deliver(connection, message);
    }

    fn part(&self, connection: &Rc<Conn>, kind: Kind, payload: BytesPayload, last: bool) {
        let Some(hook) = &connection.endpoint().host.part else {
            return;
        };
        let py = self.py();
        let attachment = connection.user.borrow();
        let Some(attachment) = attachment.as_ref() else {
            return;
        };
        let payload = payload.into_object(py);
        let last = last.into_pyobject(py).expect("a bool converts");
        let text = (kind == Kind::Text)
            .into_pyobject(py)
            .expect("a bool converts");
        let arguments = [
            attachment.object.as_ptr(),
            payload.as_ptr(),
            last.as_ptr(),
            text.as_ptr(),
        ];
        // SAFETY: all are alive.
        if let Err(error) = unsafe { self.call_only(connection, attachment, hook, &arguments) } {
            self.failed(connection, error);
        }
    }

    fn ending(&self, connection: &Rc<Conn>) {
        if connection.endpoint().host.has_inbox() {
            self.wake_now(connection);
        }
    }

    fn pong(&self, connection: &Rc<Conn>, payload: &[u8]) {
        let pings = {
            let attachment = connection.user.borrow();
            let Some(attachment) = attachment.as_ref() else {
                return;
            };
            let Some(rare) = attachment.rare.get() else {
                return;
            };
            rare.borrow_mut().pings.take_answered(payload)
        };
        if !pings.is_empty()
            && let Err(error) = ping::answered(self.py(), pings)
        {
            self.note(self.py(), Some(connection), error);
        }
    }

    fn accepted(&self, connection: &Rc<Conn>, headers: Vec<(String, String)>) {
        let kept = self.object(connection).and_then(|object| {
            let object = object.bind(self.py());
            object.get().local()?.request.keep_response(&headers);
            Ok(())
        });
        if let Err(error) = kept {
            self.note(self.py(), Some(connection), error);
        }
    }

    fn secured(&self, connection: &Rc<Conn>) {
        let securers = connection.rare(|rare| std::mem::take(&mut rare.securers));
        let py = self.py();
        if let Err(error) = waiting::secured(py, connection, securers.unwrap_or_default()) {
            self.note(py, Some(connection), error);
        }
    }

    fn watches_subscriptions(&self, connection: &Rc<Conn>) -> bool {
        let endpoint = &connection.endpoint().host;
        endpoint.subscribe.is_some() || endpoint.unsubscribe.is_some()
    }

    fn subscription(&self, connection: &Rc<Conn>, name: &str, is_subscribed: bool) {
        let endpoint = &connection.endpoint().host;
        let hook = if is_subscribed {
            &endpoint.subscribe
        } else {
            &endpoint.unsubscribe
        };
        if let Some(hook) = hook {
            let name = PyString::new(self.py(), name);
            self.call_with(connection, hook, name.as_ptr());
        }
    }

    fn drained(&self, connection: &Rc<Conn>) {
        if let Some(hook) = &connection.endpoint().host.drain {
            self.call_alone(connection, hook);
        }
        let attachment = connection.user.borrow();
        let Some(attachment) = attachment.as_ref() else {
            return;
        };
        self.handle()
            .senders()
            .drained(attachment.object.get().key());
        if let Err(error) = waiting::drained(self.py(), attachment) {
            self.note(self.py(), Some(connection), error);
        }
    }

    fn ended(&self, connection: &Rc<Conn>) -> AfterEnd {
        let endpoint = &connection.endpoint().host;
        if endpoint.has_inbox() {
            self.with_inbox(connection, Inbox::finish);
            // A task that still runs may send more; the connection is closed when it returns.
            let may_answer = endpoint.spawn.is_some() && !self.is_end_awaited(connection, false);
            return if may_answer || endpoint.half_close {
                AfterEnd::Keep
            } else {
                AfterEnd::Close
            };
        }
        let Some(hook) = &endpoint.end else {
            return AfterEnd::Close;
        };
        self.call_alone(connection, hook);
        AfterEnd::Keep
    }

    fn awaits_only_end(&self, connection: &Rc<Conn>) -> bool {
        self.is_end_awaited(connection, true)
    }

    fn closed(&self, connection: &Rc<Conn>, reason: &CloseReason) {
        let py = self.py();
        self.with_inbox(connection, Inbox::end);
        let attachment = connection.user.borrow();
        let Some(attachment) = attachment.as_ref() else {
            return;
        };
        if let Err(error) = waiting::resolve_at_end(py, connection, attachment, reason) {
            self.note(py, Some(connection), error);
        }
        if let Some(hook) = &connection.endpoint().host.close {
            let called = imports::close_reason(py, reason).and_then(|reason| {
                let arguments = [attachment.object.as_ptr(), reason.as_ptr()];
                // SAFETY: both are alive.
                unsafe { self.call_only(connection, attachment, hook, &arguments) }
            });
            if let Err(error) = called {
                self.note(py, Some(connection), error);
            }
        }
    }

    fn left(&self, connection: &Rc<Conn>, place: Place<Self>) {
        let attachment = connection.user.borrow();
        let Some(attachment) = attachment.as_ref() else {
            return;
        };
        if connection.is_client() {
            return;
        }
        let hook = connection.endpoint().host.working.as_ref();
        let is_working = task::is_running(&attachment.object)
            || hook.is_some_and(|hook| {
                // SAFETY: the object is alive.
                let called = unsafe { hook.call(self.py(), &[attachment.object.as_ptr()]) };
                let called = called.and_then(|it| it.is_truthy());
                called.unwrap_or_else(|error| {
                    self.note(self.py(), Some(connection), error);
                    false
                })
            });
        if !is_working {
            return;
        }
        if let Ok(local) = attachment.object.get().local() {
            local.place.set(Some(Box::new(place)));
        }
    }

    fn refused(&self, connection: &Rc<Conn>, reason: &CloseReason) {
        let py = self.py();
        let Some(hook) = &connection.endpoint().host.outcome else {
            return;
        };
        let none = py.None();
        let called = imports::close_reason(py, reason).and_then(|closed| {
            let headers = PyList::new(py, &reason.headers)?;
            let body = PyBytes::new(py, &reason.body);
            let none = none.as_ptr();
            let cause = match reason.cause {
                Cause::Limit(limit) => limit.name(),
                cause => cause.name(),
            };
            let cause = PyString::new(py, cause);
            let arguments = [
                none,
                closed.as_ptr(),
                headers.as_ptr(),
                body.as_ptr(),
                cause.as_ptr(),
            ];
            // SAFETY: all are alive.
            unsafe { hook.call(py, &arguments) }
        });
        if let Err(error) = called {
            self.note(py, Some(connection), error);
        }
    }

    fn denied(&self, endpoint: &Rc<Endpoint<Self>>, peer: Option<Address>, denial: Denial<'_>) {
        if let Err(error) = log_denial(self.py(), &endpoint.host, peer, denial) {
            self.note(self.py(), None, error);
        }
    }

    fn rule_broken(&self, connection: &Rc<Conn>, reason: &CloseReason) {
        if let Err(error) = log_rule_broken(self.py(), connection, reason) {
            self.note(self.py(), Some(connection), error);
        }
    }

    fn fault(&self, connection: &Rc<Conn>, text: &str) {
        if let Err(error) = log_response_fault(self.py(), connection, text) {
            self.note(self.py(), Some(connection), error);
        }
    }

    fn datagrams<'a>(
        &self,
        socket: &Rc<DatagramSocket<Self>>,
        batch: impl Iterator<Item = (&'a Arrival, &'a [u8])>,
    ) {
        self.hand_over_datagrams(socket, batch);
    }

    fn event(&self, endpoint: &Rc<Endpoint<Self>>, event: Event) {
        if let Err(error) = report_event(self.py(), &endpoint.host, event) {
            self.note(self.py(), None, error);
        }
    }

    fn layers(&self, connection: &Rc<Conn>) -> Vec<Box<dyn Layer>> {
        let Some(tls) = &connection.endpoint().host.tls else {
            return Vec::new();
        };
        // Made here, so that there is something to keep the handle in.
        let layer = self.object(connection).and_then(|_| {
            let layer = tls.layer(connection);
            layer.map_err(|error| PyRuntimeError::new_err(error.to_string()))
        });
        match layer {
            Ok(layer) => vec![layer],
            Err(error) => {
                self.note(self.py(), Some(connection), error);
                connection.abort();
                Vec::new()
            }
        }
    }

    fn filter_received(&self, connection: &Rc<Conn>, bytes: &[u8]) -> Filtered {
        match &connection.endpoint().host.filter_received {
            Some(hook) => self.filter(connection, hook, bytes, false),
            None => Filtered::Failed,
        }
    }

    fn filter_sent(&self, connection: &Rc<Conn>, bytes: &[u8]) -> Filtered {
        match &connection.endpoint().host.filter_sent {
            Some(hook) => self.filter(connection, hook, bytes, true),
            None => Filtered::Failed,
        }
    }

    #[inline]
    fn turn_wanted(&self) {
        if !self.in_turn.get() {
            self.want_turn();
        }
    }

    #[inline]
    fn round_over(&self) {
        self.wake_all();
        self.copy_counters();
    }

    fn timer(&self, engine: &Rc<Engine<Self>>, due: &Fired<u64>) {
        timer::fire(engine, due);
    }

    #[inline]
    fn stream(&self, number: u64, outcome: Outcome) {
        self.streams.push(number, outcome);
    }

    fn ready(&self, descriptor: i32, interest: Interest) {
        let events = u8::from(interest.read) | u8::from(interest.write) << 1;
        self.ready.borrow_mut().push((descriptor, events));
    }
}
