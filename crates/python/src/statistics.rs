//! Counters as the fields of `ConnectionStatistics`, `PortStatistics` and `TopicStatistics`.

use crate::calls::Invoke as _;
use crate::core::Conn;
use crate::ended::Ended;
use crate::host::PyHost;
use crate::imports;
use crate::timers::TimerCounters;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::rc::Rc;
use std::time::Duration;
use vespiary_engine::port::Counters;
use vespiary_engine::{Engine, TopicSpace, TopicTraffic};

/// What a driver did, as the fields of `PortStatistics`.
pub(crate) fn of_port(py: Python<'_>, driver: &str, counters: Counters) -> PyResult<Py<PyDict>> {
    let statistics = PyDict::new(py);
    statistics.set_item("driver", driver)?;
    statistics.set_item("turns", counters.turns)?;
    statistics.set_item("system_calls", counters.system_calls)?;
    statistics.set_item("completions", counters.completions)?;
    statistics.set_item("buffers_exhausted", counters.buffers_exhausted)?;
    Ok(statistics.unbind())
}

/// What an engine had counted when its loop was closed, for any thread.
pub(crate) struct AtClose {
    pub(crate) port: Counters,
    pub(crate) timers: TimerCounters,
    topics: Vec<(TopicSpace, TopicTraffic)>,
}

impl AtClose {
    pub(crate) fn of(engine: &Engine<PyHost>) -> Self {
        Self {
            port: engine.port_counters(),
            timers: engine.host.timers.counters(),
            topics: engine.topic_traffics(),
        }
    }

    pub(crate) fn traffic(&self, space: TopicSpace) -> TopicTraffic {
        let found = self.topics.iter().find(|(it, _)| *it == space);
        found.map_or_else(TopicTraffic::default, |(_, traffic)| *traffic)
    }
}

/// What the timers of a loop did, as the fields of `TimerStatistics`.
pub(crate) fn of_timers(py: Python<'_>, counters: TimerCounters) -> PyResult<Py<PyDict>> {
    let seconds = |nanoseconds| Duration::from_nanos(nanoseconds).as_secs_f64();
    let statistics = PyDict::new(py);
    statistics.set_item("timers_set", counters.set)?;
    statistics.set_item("timers_moved", counters.moved)?;
    statistics.set_item("timers_fired", counters.fired)?;
    statistics.set_item("timers_cancelled", counters.cancelled)?;
    statistics.set_item("timers_waiting", counters.waiting)?;
    statistics.set_item("calls_skipped", counters.skipped)?;
    statistics.set_item("late_seconds_total", seconds(counters.late_nanoseconds))?;
    statistics.set_item("late_seconds_max", seconds(counters.late_nanoseconds_max))?;
    Ok(statistics.unbind())
}

/// What happened in a server's topics, as the fields of `TopicStatistics`.
pub(crate) fn of_topics(py: Python<'_>, traffic: TopicTraffic) -> PyResult<Py<PyDict>> {
    let statistics = PyDict::new(py);
    statistics.set_item("topics", traffic.topics)?;
    statistics.set_item("patterns", traffic.patterns)?;
    statistics.set_item("retained_messages", traffic.retained_messages)?;
    statistics.set_item("retained_bytes", traffic.retained_bytes)?;
    statistics.set_item("retained_refused", traffic.retained_refused)?;
    statistics.set_item("published", traffic.published)?;
    statistics.set_item("deliveries", traffic.deliveries)?;
    Ok(statistics.unbind())
}

/// What has happened on a connection, or had when it ended.
pub(crate) fn of_connection(
    py: Python<'_>,
    living: Option<&Rc<Conn>>,
    ended: Option<&Ended>,
) -> PyResult<Py<PyAny>> {
    let (traffic, compression) = match (living, ended) {
        (Some(it), _) => (it.traffic(), it.compression_statistics()),
        (None, Some(ended)) => (ended.traffic, ended.compression),
        (None, None) => Default::default(),
    };
    let (queued, open_seconds, dropped) = match (living, ended) {
        (Some(it), _) => (it.queued_bytes(), it.open_seconds(), it.dropped()),
        (None, Some(ended)) => (0, 0.0, ended.dropped),
        (None, None) => (0, 0.0, 0),
    };
    let keywords = PyDict::new(py);
    let compression = imports::compression_statistics(py, compression)?;
    keywords.set_item("compression", compression)?;
    keywords.set_item("bytes_received", traffic[0])?;
    keywords.set_item("bytes_sent", traffic[1])?;
    keywords.set_item("messages_received", traffic[2])?;
    keywords.set_item("messages_sent", traffic[3])?;
    keywords.set_item("messages_dropped", dropped)?;
    keywords.set_item("queued_bytes", queued)?;
    keywords.set_item("open_seconds", open_seconds)?;
    Ok(imports::connection_statistics_class(py)?
        .invoke_with((), &keywords)?
        .unbind())
}
