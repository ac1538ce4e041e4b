//! A live tap of one connection: what passes in both directions, as bounded records.
//!
//! It is a layer between the session and the other layers, TLS included, so a connection without a
//! tap does no work for it, and a tap shows what the session receives and sends. Records wait until
//! Python takes them. When too many wait, further ones are counted and dropped: a tap never makes
//! the connection wait.

use crate::connection::Connection;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use vespiary_engine::{CloseReason, Flow, Framing, Layer, Progress, Received};

struct Record {
    /// Seconds of the Unix epoch.
    time: f64,
    is_received: bool,
    size: usize,
    /// The first bytes.
    head: Vec<u8>,
}

struct Recording {
    waiting: VecDeque<Record>,
    records_max: usize,
    preview_bytes_max: usize,
    dropped: u64,
    dropped_bytes: u64,
    is_stopped: bool,
}

impl Recording {
    fn add(&mut self, is_received: bool, bytes: &[u8]) {
        if bytes.is_empty() || self.is_stopped {
            return;
        }
        if self.waiting.len() >= self.records_max {
            self.dropped += 1;
            self.dropped_bytes += bytes.len() as u64;
            return;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        self.waiting.push_back(Record {
            time: since.unwrap_or_default().as_secs_f64(),
            is_received,
            size: bytes.len(),
            head: bytes[..bytes.len().min(self.preview_bytes_max)].to_vec(),
        });
    }
}

type Shared = Arc<Mutex<Recording>>;

fn locked(shared: &Shared) -> MutexGuard<'_, Recording> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct TapLayer(Shared);

impl Layer for TapLayer {
    fn receive(&mut self, input: &mut [u8], flow: &mut Flow<'_>) -> Result<Received, CloseReason> {
        let mut records = locked(&self.0);
        if records.is_stopped {
            // What has come is for the layer above.
            return Ok(Received {
                used: 0,
                progress: Progress::Finished(None),
                work: 0,
            });
        }
        records.add(true, input);
        flow.plain.extend_from_slice(input);
        Ok(Received {
            used: input.len(),
            progress: Progress::MoreNeeded,
            work: 0,
        })
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CloseReason> {
        locked(&self.0).add(false, plain);
        wire.extend_from_slice(plain);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        let records = locked(&self.0);
        let heads: usize = records.waiting.iter().map(|it| it.head.capacity()).sum();
        size_of::<Recording>() + records.waiting.capacity() * size_of::<Record>() + heads
    }
}

/// What was seen on a connection since the last `take`.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct Tap(Shared);

/// (seconds of the Unix epoch, whether it was received, its size, its first bytes).
type Taken = (f64, bool, usize, Py<PyBytes>);

#[pymethods]
impl Tap {
    /// Take the records that wait; with how many were dropped since the last call, and their bytes.
    fn take(&self, py: Python<'_>) -> (Vec<Taken>, u64, u64) {
        let (waiting, dropped, dropped_bytes) = {
            let mut records = locked(&self.0);
            (
                std::mem::take(&mut records.waiting),
                std::mem::take(&mut records.dropped),
                std::mem::take(&mut records.dropped_bytes),
            )
        };
        let taken = |it: Record| {
            let head = PyBytes::new(py, &it.head).unbind();
            (it.time, it.is_received, it.size, head)
        };
        (
            waiting.into_iter().map(taken).collect(),
            dropped,
            dropped_bytes,
        )
    }

    /// Record nothing more. The layer is removed when the next bytes come.
    fn stop(&self) {
        let mut records = locked(&self.0);
        records.is_stopped = true;
        records.waiting = VecDeque::new();
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Record what passes on a connection, until the tap is stopped or dropped.
#[pyfunction]
fn tap_connection(
    connection: &Bound<'_, Connection>,
    records_max: usize,
    preview_bytes_max: usize,
) -> PyResult<Tap> {
    let this = connection.get();
    this.check_thread("tap_connection()")?;
    let Some(living) = this.living()? else {
        return Err(PyValueError::new_err("the connection has ended"));
    };
    if living.endpoint().options().framing == Framing::Datagram {
        return Err(PyValueError::new_err(
            "connections of datagrams cannot be tapped",
        ));
    }
    let shared = Arc::new(Mutex::new(Recording {
        waiting: VecDeque::new(),
        records_max,
        preview_bytes_max,
        dropped: 0,
        dropped_bytes: 0,
        is_stopped: false,
    }));
    living.push_layer(Box::new(TapLayer(shared.clone())));
    Ok(Tap(shared))
}

/// Add the functions to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Tap>()?;
    module.add_function(wrap_pyfunction!(tap_connection, module)?)
}
