//! `Topics`: the space of one server's topics, as its server uses it.

use crate::arguments;
use crate::connection::Connection;
use crate::core::Core;
use crate::send::{publish_error, with_payload};
use crate::statistics;
use crate::wanted::Asker;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use vespiary_engine::{Kind, Publish, RetainLimits, TopicSpace};

/// The topics of one server, from its start to its end; from any thread.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct Topics {
    core: Py<Core>,
    pub(crate) space: TopicSpace,
}

impl Topics {
    pub(crate) fn new(
        core: &Bound<'_, Core>,
        messages_max: Option<usize>,
        bytes_max: Option<usize>,
    ) -> PyResult<Self> {
        let engine = core.get().engine()?;
        let space = engine.topic_space();
        let limits = RetainLimits {
            messages_max,
            bytes_max,
        };
        engine.limit_retained(space, limits);
        Ok(Self {
            core: core.clone().unbind(),
            space,
        })
    }

    /// Run something on the loop's thread, while the calling thread waits.
    fn ask<T: Send + 'static>(
        slf: &Bound<'_, Self>,
        act: impl FnOnce(Python<'_>, &Core, TopicSpace) -> PyResult<T> + Send + 'static,
    ) -> PyResult<T> {
        let space = slf.get().space;
        let core = slf.get().core.bind(slf.py());
        Core::ask(core, move |py, core| act(py, core, space))
    }
}

#[pymethods]
impl Topics {
    /// Send a message to everybody subscribed to a topic, but perhaps to one; how many took it.
    #[pyo3(signature = (topic, message, but = None, compress = None, retain = false))]
    fn publish(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::topic)] topic: String,
        message: Py<PyAny>,
        #[pyo3(from_py_with = arguments::exclude)] but: Option<Py<Connection>>,
        #[pyo3(from_py_with = arguments::compress)] compress: Option<bool>,
        #[pyo3(from_py_with = arguments::retain)] retain: bool,
    ) -> PyResult<usize> {
        Self::ask(slf, move |py, core, space| {
            let but = match but {
                Some(connection) => connection.get().living()?.map(|living| living.token()),
                None => None,
            };
            let options = Publish {
                space,
                compress,
                but,
                retain,
            };
            let engine = core.engine()?;
            let asker = Asker::new(&engine.host);
            let taken = with_payload(message.bind(py), |kind: Kind, payload| {
                engine.publish(&topic, kind, payload, options)
            })?;
            let count = taken.map_err(|error| publish_error(py, error))?;
            asker.finish(py)?;
            Ok(count)
        })
    }

    /// How many connections get what is published to a topic.
    fn subscribers(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::topic)] topic: String,
    ) -> PyResult<usize> {
        Self::ask(slf, move |_, core, space| {
            Ok(core.engine()?.subscribers(space, &topic))
        })
    }

    /// The connections that get what is published to a topic.
    fn subscribed(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::topic)] topic: String,
    ) -> PyResult<Vec<Py<Connection>>> {
        Self::ask(slf, move |_, core, space| {
            let engine = core.engine()?;
            let subscribed = engine.subscribed(space, &topic);
            let objects = subscribed.iter().map(|it| engine.host.object(it));
            objects.collect()
        })
    }

    /// The message that a topic retains; None where it retains none.
    fn retained(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::topic)] topic: String,
    ) -> PyResult<Option<Py<PyAny>>> {
        Self::ask(slf, move |py, core, space| {
            let Some(kept) = core.engine()?.retained(space, &topic) else {
                return Ok(None);
            };
            let message = match kept.kind {
                Kind::Binary => PyBytes::new(py, &kept.payload).into_any(),
                Kind::Text => PyString::new(py, &String::from_utf8_lossy(&kept.payload)).into_any(),
            };
            Ok(Some(message.unbind()))
        })
    }

    /// Retain no message of a topic any more; whether there was one.
    fn discard_retained(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::topic)] topic: String,
    ) -> PyResult<bool> {
        Self::ask(slf, move |_, core, space| {
            Ok(core.engine()?.discard_retained(space, &topic))
        })
    }

    /// What happened until the close of the loop, as the fields of TopicStatistics.
    fn statistics(slf: &Bound<'_, Self>) -> PyResult<Py<PyDict>> {
        let asked = Self::ask(slf, |_, core, space| {
            Ok(core.engine()?.topic_traffic(space))
        });
        let traffic = match slf.get().core.get().at_close() {
            Some(at_close) => at_close.traffic(slf.get().space),
            None => asked?,
        };
        statistics::of_topics(slf.py(), traffic)
    }

    /// The server has ended: forget what is retained.
    fn end(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::ask(slf, |_, core, space| {
            core.engine()?.end_topic_space(space);
            Ok(())
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core)
    }
}
