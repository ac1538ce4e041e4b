//! The contexts of timers. Each timer is called in a copy of the context in which it was set, and
//! timers that are set in a row mostly share their variables: so they share one copy, until they
//! are due. A million contexts would take 80 bytes each.

use crate::context;
use crate::owned::Owned;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

/// A context, and how many timers have it.
struct Shared {
    context: Owned,
    /// The number of the run of a server that has set these timers.
    owner: u64,
    /// See [`context::variables`].
    variables: Option<usize>,
    uses: u32,
}

/// The contexts of timers that wait, by their numbers.
#[derive(Default)]
pub(crate) struct SharedContexts {
    contexts: Vec<Option<Shared>>,
    free: Vec<u32>,
    /// The latest that was kept.
    latest: u32,
}

impl SharedContexts {
    /// Keep a copy of a context that nobody else has; its number. A copy that is not needed,
    /// because the latest has the same variables, is given back, to be dropped.
    pub(crate) fn keep(&mut self, copy: Py<PyAny>, owner: u64) -> (u32, Option<Py<PyAny>>) {
        let variables = context::variables(&copy);
        if let Some(Some(latest)) = self.contexts.get_mut(self.latest as usize)
            && variables.is_some()
            && latest.variables == variables
            && latest.owner == owner
        {
            latest.uses += 1;
            return (self.latest, Some(copy));
        }
        let shared = Some(Shared {
            context: Owned::new(copy),
            owner,
            variables,
            uses: 1,
        });
        if let Some(number) = self.free.pop() {
            self.contexts[number as usize] = shared;
            self.latest = number;
        } else {
            self.latest = self.contexts.len() as u32;
            self.contexts.push(shared);
        }
        (self.latest, None)
    }

    /// The context with a number.
    pub(crate) fn get(&self, number: u32) -> Option<&Py<PyAny>> {
        let shared = self.contexts.get(number as usize)?.as_ref()?;
        Some(&shared.context)
    }

    /// Who has set the timers that use a context.
    pub(crate) fn owner(&self, number: u32) -> Option<u64> {
        let shared = self.contexts.get(number as usize)?.as_ref()?;
        Some(shared.owner)
    }

    /// A timer needs it no more; the context, to be dropped, when no other does.
    pub(crate) fn leave(&mut self, number: u32) -> Option<Owned> {
        let place = self.contexts.get_mut(number as usize)?;
        let shared = place.as_mut()?;
        shared.uses -= 1;
        if shared.uses > 0 {
            return None;
        }
        self.free.push(number);
        place.take().map(|shared| shared.context)
    }

    /// Show them to the collector.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for shared in self.contexts.iter().flatten() {
            shared.context.visit(visit)?;
        }
        Ok(())
    }
}
