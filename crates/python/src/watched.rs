//! Who watches a foreign descriptor: the loop's selector, a transport that reads it, or both. The
//! port knows one watch for each descriptor.

use crate::core::Core;
use crate::imports;
use pyo3::prelude::*;
use std::cell::RefCell;
use vespiary_engine::port::Interest;

const READ: u8 = 1;
const WRITE: u8 = 2;
const TRANSPORT: u8 = 4;

/// What one descriptor is watched for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Watched(u8);

impl Watched {
    /// The selector watches for these events: 1 for reading, 2 for writing.
    pub(crate) fn set_foreign(&mut self, events: u8) {
        self.0 = self.0 & TRANSPORT | events & (READ | WRITE);
    }

    /// A transport reads it, or no longer.
    pub(crate) fn set_read(&mut self, on: bool) {
        self.0 = if on {
            self.0 | TRANSPORT
        } else {
            self.0 & !TRANSPORT
        };
    }

    fn interest(self) -> Option<Interest> {
        (self.0 != 0).then_some(Interest {
            read: self.0 & (READ | TRANSPORT) != 0,
            write: self.0 & WRITE != 0,
        })
    }
}

/// The watches of a loop.
#[derive(Default)]
pub(crate) struct Watching(RefCell<Vec<Watched>>);

impl Watching {
    /// Change a watch; what the port is to watch for then.
    pub(crate) fn change(
        &self,
        descriptor: i32,
        change: impl FnOnce(&mut Watched),
    ) -> Option<Interest> {
        let index = usize::try_from(descriptor).ok()?;
        let mut watched = self.0.borrow_mut();
        if watched.len() <= index {
            watched.resize(index + 1, Watched::default());
        }
        change(&mut watched[index]);
        watched[index].interest()
    }

    /// A descriptor that cannot be watched.
    pub(crate) fn forget(&self, descriptor: i32) {
        self.change(descriptor, |watched| *watched = Watched::default());
    }
}

impl Core {
    /// Whether the driver receives and sends for transports of the loop.
    pub(crate) fn serves_streams(&self) -> bool {
        let engine = self.engine();
        engine.is_ok_and(|engine| engine.serves_foreign_streams())
    }

    /// Watch a descriptor for a transport of the loop, or no longer.
    pub(crate) fn read(&self, descriptor: i32, on: bool) -> PyResult<()> {
        if self.shared.is_forked() {
            return Ok(());
        }
        self.watch(descriptor, |watched| watched.set_read(on))
    }

    /// Change who watches a descriptor, and what for.
    pub(crate) fn watch(&self, descriptor: i32, change: impl FnOnce(&mut Watched)) -> PyResult<()> {
        let engine = self.engine()?;
        let interest = engine.host.watched.change(descriptor, change);
        let Some(interest) = interest else {
            engine.unpoll(descriptor);
            return Ok(());
        };
        engine
            .poll(descriptor, interest)
            .inspect_err(|_| engine.host.watched.forget(descriptor))
            .map_err(|error| imports::os_error(&error))
    }
}
