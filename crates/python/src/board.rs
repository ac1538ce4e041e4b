//! The memory that the worker processes of a server share, as far as the engine uses it: the
//! counters of this process's endpoints, and the number of connections of each process.
//!
//! `vespiary.workers._board` made it and describes it. It consists of words of 64 bits. A process
//! writes the words of its own slot only, with plain stores; others read them at any time. The
//! counters of an endpoint are copied at the end of each round, before anything of the round is
//! sent: so what a client has received was counted, even if the process is killed at that moment.

use crate::core::Core;
use crate::host::PyHost;
use crate::site::Site;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use vespiary_engine::port::Descriptor;
use vespiary_engine::{Endpoint, Share};

const WORD_BYTES: usize = size_of::<u64>();

/// The whole memory; the buffer keeps it mapped.
struct Memory {
    words: *const AtomicU64,
    count: usize,
    _buffer: PyBuffer<u8>,
}

impl Memory {
    fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let buffer = PyBuffer::<u8>::get(object)?;
        let words = buffer.buf_ptr().cast::<AtomicU64>().cast_const();
        if buffer.readonly() || !words.is_aligned() || !buffer.is_c_contiguous() {
            return Err(PyValueError::new_err(
                "not memory that is shared and mapped",
            ));
        }
        Ok(Self {
            words,
            count: buffer.len_bytes() / WORD_BYTES,
            _buffer: buffer,
        })
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the buffer is alive, as long as that, and aligned; all processes access it by
        // whole words.
        unsafe { std::slice::from_raw_parts(self.words, self.count) }
    }
}

/// Where the slots have what the spread of connections takes.
struct Slots {
    memory: Memory,
    count: usize,
    words_per_slot: usize,
    /// The words of a slot: what its process does, its connections, and what it has accepted.
    state: usize,
    open: usize,
    accepted: usize,
    serving: u64,
    own: usize,
}

/// With up to so many connections more than the process with the fewest, it does not stand back.
const LEAD_MIN: u64 = 4;
/// The same for such a part of the connections of that process.
const LEAD_PART: u64 = 32;

impl Slots {
    fn word(&self, slot: usize, word: usize) -> &AtomicU64 {
        &self.memory.words()[slot * self.words_per_slot + word]
    }

    fn add(&self, word: usize, amount: u64) {
        let word = self.word(self.own, word);
        let value = word.load(Ordering::Relaxed).wrapping_add(amount);
        word.store(value, Ordering::Relaxed);
    }

    fn others_that_accept(&self) -> impl Iterator<Item = usize> {
        let accepts =
            |slot: &usize| self.word(*slot, self.state).load(Ordering::Relaxed) == self.serving;
        (0..self.count)
            .filter(|slot| *slot != self.own)
            .filter(accepts)
    }
}

impl Share for Slots {
    fn entered(&self) {
        self.add(self.open, 1);
        self.add(self.accepted, 1);
    }

    fn left(&self) {
        self.add(self.open, u64::MAX);
    }

    fn is_ahead(&self) -> bool {
        let open = |slot| self.word(slot, self.open).load(Ordering::Relaxed);
        let fewest = self.others_that_accept().map(open).min();
        fewest.is_some_and(|it| open(self.own) > it + LEAD_MIN.max(it / LEAD_PART))
    }

    fn accepted(&self) -> u64 {
        let accepted = |slot| self.word(slot, self.accepted).load(Ordering::Relaxed);
        (0..self.count).map(accepted).fold(0, u64::wrapping_add)
    }

    fn is_awaited(&self, listener: Descriptor) -> bool {
        let mut poll = libc::pollfd {
            fd: listener,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: the pointer is to one structure of ours, and the call does not wait.
        unsafe { libc::poll(&raw mut poll, 1, 0) > 0 }
    }
}

/// The words in which an endpoint's counters are copied.
pub(crate) struct Copied {
    endpoint: Rc<Endpoint<PyHost>>,
    memory: Memory,
    first: usize,
    /// How many names there may be.
    names_max: usize,
    names: Cell<usize>,
    refused: Column<vespiary_engine::NotOpened>,
    answered: Column<u16>,
    close_codes: Column<u16>,
    limits: Column<vespiary_engine::Limit>,
    datagrams_dropped: Column<vespiary_engine::Dropped>,
    datagram_errors: Column<i32>,
    accept_errors: Column<i32>,
}

/// The words of a name that is counted: its text, and the count.
const NAME_WORDS: usize = 6;
/// Single numbers, in the order of `vespiary.workers._board.COUNTERS`.
const COUNTERS: usize = 24;

/// The counts of one map: which words belong to which of its keys, in the map's order.
struct Column<K>(Vec<(K, usize)>);

impl<K> Default for Column<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + PartialEq + Display> Column<K> {
    /// Copy counts. `name` gives the words of a name that was not counted before, if there are any.
    fn copy(
        &mut self,
        counts: &BTreeMap<K, u64>,
        words: &[AtomicU64],
        mut name: impl FnMut(&K) -> Option<usize>,
    ) {
        if self.0.len() != counts.len() {
            let known = |key: &K| self.0.iter().find(|it| it.0 == *key).map(|it| it.1);
            let places = counts.keys().map(|key| {
                let place = known(key).or_else(|| name(key));
                (*key, place.unwrap_or(usize::MAX))
            });
            self.0 = places.collect();
        }
        for ((_, place), count) in self.0.iter().zip(counts.values()) {
            if let Some(word) = words.get(*place) {
                word.store(*count, Ordering::Release);
            }
        }
    }
}

impl Copied {
    /// Copy everything that the endpoint has counted.
    pub(crate) fn copy(&mut self) {
        let counters = &self.endpoint.counters;
        let compression = counters.compression.get();
        let values: [u64; COUNTERS] = [
            counters.accepted.get(),
            counters.opened.get(),
            counters.closed.get(),
            counters.broken.get(),
            u64::from(self.endpoint.finishing()),
            u64::from(self.endpoint.handshaking()),
            counters.messages_in.get(),
            counters.messages_out.get(),
            counters.bytes_in.get(),
            counters.bytes_out.get(),
            counters.dropped.get(),
            counters.datagrams_in.get(),
            counters.datagrams_out.get(),
            counters.protocol_errors.get(),
            counters.write_pauses.get(),
            counters.budget_exhausted.get(),
            self.endpoint
                .host
                .lasting
                .handler_errors
                .load(Ordering::Relaxed),
            compression.messages_in,
            compression.compressed_in,
            compression.inflated_in,
            compression.messages_out,
            compression.compressed_out,
            compression.plain_out,
            counters.compression_memory.get(),
        ];
        let words = self.memory.words();
        for (word, value) in words[self.first..].iter().zip(values) {
            word.store(value, Ordering::Relaxed);
        }
        let first = self.first + COUNTERS;
        let (names, names_max) = (&self.names, self.names_max);
        let add = |kind: char, name: &dyn Display| {
            let index = names.get();
            let place = first + index * NAME_WORDS;
            (index < names_max).then(|| {
                names.set(index + 1);
                write_name(&words[place..], &format!("{kind}{name}"));
                place + NAME_WORDS - 1
            })
        };
        self.refused
            .copy(&counters.refused.borrow(), words, |key| add('r', key));
        self.answered
            .copy(&counters.answered.borrow(), words, |key| add('a', key));
        self.close_codes
            .copy(&counters.close_codes.borrow(), words, |key| add('c', key));
        self.limits
            .copy(&counters.limits.borrow(), words, |key| add('l', key));
        let dropped = counters.datagrams_dropped.borrow();
        self.datagrams_dropped
            .copy(&dropped, words, |key| add('d', key));
        let errors = counters.datagram_errors.borrow();
        self.datagram_errors
            .copy(&errors, words, |key| add('e', key));
        let errors = counters.accept_errors.borrow();
        self.accept_errors.copy(&errors, words, |key| add('x', key));
    }
}

/// Write a text, cut to what fits, and zeros behind it.
fn write_name(words: &[AtomicU64], name: &str) {
    let mut bytes = [0_u8; (NAME_WORDS - 1) * WORD_BYTES];
    let length = name.len().min(bytes.len());
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    for (word, chunk) in words.iter().zip(bytes.chunks_exact(WORD_BYTES)) {
        let value = u64::from_ne_bytes(chunk.try_into().expect("a chunk is a word"));
        word.store(value, Ordering::Relaxed);
    }
}

/// Copy the counters of a site into shared memory from now on. They begin at this word, with room
/// for this number of names.
#[pyfunction]
fn share_counters(
    core: &Bound<'_, Core>,
    site: &Bound<'_, Site>,
    memory: &Bound<'_, PyAny>,
    first: usize,
    names_max: usize,
) -> PyResult<()> {
    let engine = core.get().engine()?;
    let memory = Memory::of(memory)?;
    if first + COUNTERS + names_max * NAME_WORDS > memory.count {
        return Err(PyValueError::new_err("the memory is too short"));
    }
    engine.host.copied.borrow_mut().push(Copied {
        endpoint: site.get().endpoint()?,
        memory,
        first,
        names_max,
        names: Cell::new(0),
        refused: Column::default(),
        answered: Column::default(),
        close_codes: Column::default(),
        limits: Column::default(),
        datagrams_dropped: Column::default(),
        datagram_errors: Column::default(),
        accept_errors: Column::default(),
    });
    Ok(())
}

/// Copy at once what is shared otherwise at the end of a round.
#[pyfunction]
fn copy_counters(core: &Bound<'_, Core>) -> PyResult<()> {
    core.get().engine()?.host.copy_counters();
    Ok(())
}

/// Spread the connections of these sites over the processes of the slots: `words` are the words of
/// a slot for (its state, its connections, what it has accepted), and `serving` is the state of a
/// process that accepts.
#[pyfunction]
fn share_connections(
    sites: Vec<Bound<'_, Site>>,
    memory: &Bound<'_, PyAny>,
    slots: (usize, usize, usize),
    words: (usize, usize, usize),
    serving: u64,
) -> PyResult<()> {
    let (own, count, words_per_slot) = slots;
    let (state, open, accepted) = words;
    let memory = Memory::of(memory)?;
    let is_within = own < count && state.max(open).max(accepted) < words_per_slot;
    if !is_within || count * words_per_slot > memory.count {
        return Err(PyValueError::new_err("the memory is too short"));
    }
    let share = Rc::new(Slots {
        memory,
        count,
        words_per_slot,
        state,
        open,
        accepted,
        serving,
        own,
    });
    for site in sites {
        site.get().endpoint()?.set_share(share.clone());
    }
    Ok(())
}

/// Add the functions to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(share_counters, module)?)?;
    module.add_function(wrap_pyfunction!(copy_counters, module)?)?;
    module.add_function(wrap_pyfunction!(share_connections, module)?)
}
