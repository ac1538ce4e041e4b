//! The timers that have not fired: whom each calls, and what all of them have done.
//!
//! A row takes 32 bytes, and its place in the wheel as much. What only few timers have, such as a
//! period, is kept next to the rows.

use crate::connection::Connection;
use crate::owned::Owned;
use crate::shared_contexts::SharedContexts;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use vespiary_engine::port::timer::Key;

/// Whom a timer calls.
pub(crate) enum Target {
    /// A callback without arguments, the context to call it in, which is a copy of its own, and the
    /// number of the server's run.
    Server(Py<PyAny>, Py<PyAny>, u64),
    Connection(Py<Connection>, Py<PyAny>),
}

/// Names a timer: its row, and how often that was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TimerId {
    row: u32,
    generation: u32,
}

/// How many bits of a generation the engine's timers have room for.
const GENERATION_BITS: u32 = 30;

impl TimerId {
    /// As the engine knows it.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.row)
    }

    pub(crate) fn from_number(number: u64) -> Self {
        Self {
            row: number as u32,
            generation: (number >> 32) as u32,
        }
    }
}

struct Row {
    /// None where the row is free.
    callback: Option<Owned>,
    /// Whose timer it is; None for the server's.
    connection: Option<Py<Connection>>,
    /// The engine's.
    key: Key,
    /// The context of a server's timer; the next free row of a free one.
    number: u32,
    generation: u32,
}

// A million timers are a million rows.
const _: () = assert!(size_of::<Row>() == 32);

/// What is due: to be called when no table is borrowed.
pub(crate) enum Called {
    /// A callback, and a context that nobody else has entered.
    Server(Owned, Py<PyAny>),
    Connection(Py<Connection>, Owned),
}

/// A row's end: what is to be dropped when no table is borrowed.
pub(crate) struct Ended {
    pub(crate) connection: Option<Py<Connection>>,
    pub(crate) key: Key,
    _callback: Option<Owned>,
    _context: Option<Owned>,
}

/// What all timers of a loop have done.
#[derive(Clone, Copy, Default)]
pub(crate) struct TimerCounters {
    pub(crate) set: u64,
    pub(crate) moved: u64,
    pub(crate) fired: u64,
    pub(crate) cancelled: u64,
    pub(crate) skipped: u64,
    pub(crate) late_nanoseconds: u64,
    pub(crate) late_nanoseconds_max: u64,
    pub(crate) waiting: u64,
}

const NONE: u32 = u32::MAX;

struct Rows {
    all: Vec<Row>,
    free: u32,
    waiting: u64,
    contexts: SharedContexts,
    /// Nanoseconds between two calls of the timers that repeat.
    periods: HashMap<u32, u64>,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            free: NONE,
            waiting: 0,
            contexts: SharedContexts::default(),
            periods: HashMap::new(),
        }
    }
}

impl Rows {
    fn find(&mut self, id: TimerId) -> Option<&mut Row> {
        let row = self.all.get_mut(id.row as usize)?;
        (row.generation == id.generation && row.callback.is_some()).then_some(row)
    }

    fn add(&mut self, mut row: Row, period: Option<u64>) -> TimerId {
        self.waiting += 1;
        let number = self.free;
        let id = if let Some(old) = self.all.get_mut(number as usize) {
            self.free = old.number;
            row.generation = old.generation;
            let generation = row.generation;
            *old = row;
            TimerId {
                row: number,
                generation,
            }
        } else {
            self.all.push(row);
            TimerId {
                row: (self.all.len() - 1) as u32,
                generation: 0,
            }
        };
        if let Some(period) = period {
            self.periods.insert(id.row, period);
        }
        id
    }

    fn remove(&mut self, id: TimerId) -> Option<Ended> {
        let free = self.free;
        let row = self.find(id)?;
        let callback = row.callback.take();
        let connection = row.connection.take();
        let key = row.key;
        let context = std::mem::replace(&mut row.number, free);
        row.generation = (row.generation + 1) & ((1 << GENERATION_BITS) - 1);
        self.free = id.row;
        self.waiting -= 1;
        if !self.periods.is_empty() {
            self.periods.remove(&id.row);
        }
        let context = match connection {
            Some(_) => None,
            None => self.contexts.leave(context),
        };
        Some(Ended {
            connection,
            key,
            _callback: callback,
            _context: context,
        })
    }
}

/// The timers of a loop that have not fired.
#[derive(Default)]
pub(crate) struct Timers {
    rows: RefCell<Rows>,
    counters: Cell<TimerCounters>,
}

impl Timers {
    /// Keep a timer, which the engine does not know yet.
    pub(crate) fn add(&self, target: Target, period: Option<u64>) -> TimerId {
        let mut rows = self.rows.borrow_mut();
        let (callback, connection, number, unneeded) = match target {
            Target::Server(callback, context, owner) => {
                let (number, unneeded) = rows.contexts.keep(context, owner);
                (callback, None, number, unneeded)
            }
            Target::Connection(object, callback) => (callback, Some(object), NONE, None),
        };
        let row = Row {
            callback: Some(Owned::new(callback)),
            connection,
            key: Key::default(),
            number,
            generation: 0,
        };
        let id = rows.add(row, period);
        drop(rows);
        drop(unneeded);
        self.count(|counters| counters.set += 1);
        id
    }

    /// The engine knows a timer by this key from now on.
    pub(crate) fn set_key(&self, id: TimerId, key: Key) {
        if let Some(row) = self.rows.borrow_mut().find(id) {
            row.key = key;
        }
    }

    /// The engine's key of a timer that waits.
    pub(crate) fn key(&self, id: TimerId) -> Option<Key> {
        self.rows.borrow_mut().find(id).map(|row| row.key)
    }

    /// The period of a timer that waits and repeats.
    pub(crate) fn period(&self, id: TimerId) -> Option<u64> {
        let mut rows = self.rows.borrow_mut();
        rows.find(id)?;
        rows.periods.get(&id.row).copied()
    }

    /// Let a timer that repeats do so in other steps.
    pub(crate) fn set_period(&self, id: TimerId, period: u64) {
        self.rows.borrow_mut().periods.insert(id.row, period);
    }

    /// What a timer that is due calls. One that does not repeat is over.
    pub(crate) fn fire(&self, py: Python<'_>, id: TimerId) -> PyResult<Option<Called>> {
        let mut rows = self.rows.borrow_mut();
        let Some(row) = rows.find(id) else {
            return Ok(None);
        };
        let Some(callback) = &row.callback else {
            return Ok(None);
        };
        let callback = Owned::new(callback.clone_ref(py));
        let connection = row.connection.as_ref().map(|it| it.clone_ref(py));
        let number = row.number;
        let context = match connection {
            Some(_) => None,
            None => rows.contexts.get(number).map(|it| it.clone_ref(py)),
        };
        let is_repeated = rows.periods.contains_key(&id.row);
        let ended = if is_repeated { None } else { rows.remove(id) };
        drop(rows);
        drop(ended);
        Ok(match (connection, context) {
            (Some(connection), _) => Some(Called::Connection(connection, callback)),
            (None, Some(context)) => Some(Called::Server(
                callback,
                crate::context::copy(py, &context)?,
            )),
            (None, None) => None,
        })
    }

    /// Forget a timer.
    pub(crate) fn remove(&self, id: TimerId) -> Option<Ended> {
        let ended = self.rows.borrow_mut().remove(id);
        if ended.is_some() {
            self.count(|counters| counters.cancelled += 1);
        }
        ended
    }

    /// The timers that a run of a server has set, and that have not fired.
    pub(crate) fn of_server(&self, owner: u64) -> Vec<TimerId> {
        let rows = self.rows.borrow();
        let is_owned = |row: &Row| {
            let is_servers = row.callback.is_some() && row.connection.is_none();
            is_servers && rows.contexts.owner(row.number) == Some(owner)
        };
        let owned = rows.all.iter().zip(0..).filter(|(row, _)| is_owned(row));
        let id = |(row, number): (&Row, u32)| TimerId {
            row: number,
            generation: row.generation,
        };
        owned.map(id).collect()
    }

    /// Change what is counted.
    pub(crate) fn count(&self, change: impl FnOnce(&mut TimerCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// What was counted.
    pub(crate) fn counters(&self) -> TimerCounters {
        TimerCounters {
            waiting: self.rows.borrow().waiting,
            ..self.counters.get()
        }
    }

    /// Show the collector what they hold.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(rows) = self.rows.try_borrow() else {
            return Ok(());
        };
        for row in &rows.all {
            if let Some(callback) = &row.callback {
                callback.visit(visit)?;
            }
            visit.call(&row.connection)?;
        }
        rows.contexts.traverse(visit)
    }

    /// Forget all of them.
    pub(crate) fn clear(&self) {
        // What they hold may run code of its own when it goes.
        let rows = self.rows.take();
        drop(rows);
    }
}
