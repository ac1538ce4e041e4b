//! How the garbage collector finds a loop that was dropped without being closed.
//!
//! The engine holds Python objects: handlers, connections with their tasks and contexts, timers.
//! These refer to the loop, and the loop holds the engine. So `Core` reports to the collector the
//! objects that the engine holds. The collector then finds that such a loop is garbage, and asyncio
//! closes it, with a `ResourceWarning`, before anything is cleared.
//!
//! The collector may run in any thread, and at any moment. A loop that is in a turn is in use, and
//! reports nothing. Outside of turns, all code that uses the engine is attached to the interpreter,
//! as the collector is (without a GIL, the collector stops all other attached threads). Objects
//! that are borrowed at that moment are skipped, so that the loop only seems to be in use.

use crate::attachment::Attachment;
use crate::callback::Callback;
use crate::endpoint::PyEndpoint;
use crate::host::PyHost;
use pyo3::gc::{PyTraverseError, PyVisit};
use std::collections::HashSet;
use std::rc::Rc;
use vespiary_engine::{Endpoint, Engine};

/// Show what the engine holds.
pub(crate) fn visit_engine(
    engine: &Engine<PyHost>,
    visit: &PyVisit<'_>,
) -> Result<(), PyTraverseError> {
    if engine.host.is_in_turn() {
        return Ok(());
    }
    let Some(connections) = engine.connections_at_rest() else {
        return Ok(());
    };
    engine.host.traverse(visit)?;
    let mut endpoints = Endpoints::default();
    for endpoint in engine.host.site_endpoints() {
        endpoints.visit(&endpoint, visit)?;
    }
    for connection in connections {
        endpoints.visit(connection.endpoint(), visit)?;
        if let Ok(attachment) = connection.user.try_borrow()
            && let Some(attachment) = attachment.as_ref()
        {
            attachment.traverse(visit)?;
        }
    }
    Ok(())
}

/// Those that were visited: connections share them.
#[derive(Default)]
struct Endpoints(HashSet<*const Endpoint<PyHost>>);

impl Endpoints {
    fn visit(
        &mut self,
        endpoint: &Rc<Endpoint<PyHost>>,
        visit: &PyVisit<'_>,
    ) -> Result<(), PyTraverseError> {
        if self.0.insert(Rc::as_ptr(endpoint)) {
            endpoint.host.traverse(visit)?;
        }
        Ok(())
    }
}

impl PyEndpoint {
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.application)?;
        let hooks = [
            &self.open,
            &self.message,
            &self.part,
            &self.datagram,
            &self.drain,
            &self.close,
            &self.end,
            &self.request,
            &self.exchange,
            &self.limit,
            &self.shutdown,
            &self.timer,
            &self.spawn,
            &self.connected,
            &self.outcome,
            &self.filter_received,
            &self.filter_sent,
        ];
        for hook in hooks.into_iter().flatten() {
            hook.traverse(visit)?;
        }
        if let Ok(route) = self.route.try_borrow()
            && let Some(route) = route.as_ref()
        {
            route.traverse(visit)?;
        }
        visit.call(&self.path_pattern)?;
        visit.call(&self.context)
    }
}

impl Callback {
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.function.visit(visit)?;
        self.bound
            .as_ref()
            .map_or(Ok(()), |bound| bound.visit(visit))
    }
}

impl Attachment {
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.is_lent() {
            visit.call(&self.object)?;
        }
        visit.call(self.made_context())?;
        // SAFETY: what is taken meanwhile is put back before anybody else runs.
        visit.call(unsafe { &*self.exchange.as_ptr() })?;
        let Some(Ok(rare)) = self.rare.get().map(|rare| rare.try_borrow()) else {
            return Ok(());
        };
        for future in &rare.closers {
            visit.call(future)?;
        }
        for ping in rare.pings.objects() {
            visit.call(ping)?;
        }
        visit.call(&rare.answering)?;
        for task in &rare.filtering {
            visit.call(task)?;
        }
        visit.call(&rare.filters)
    }
}
