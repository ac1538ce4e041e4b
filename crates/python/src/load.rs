//! `LoadRun`: the load client of `vespiary-load`, on a thread of its own, for the command line.

use crate::calls::Invoke as _;
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use vespiary_load::{
    BackgroundRun, Driver, Error, Fragment, Framing, Plan, Reply, Report, Target, TlsSettings,
    named_counts,
};

/// Add `LoadRun` to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<LoadRun>()
}

/// A load run in progress. It begins when it is made, and is stopped when it is dropped.
///
/// Errors: `ValueError` for a plan that is wrong, `OSError` where the system refuses what the
/// run needs; both say what to do.
#[pyclass(module = "vespiary._core", frozen)]
pub(crate) struct LoadRun {
    run: BackgroundRun,
}

#[pymethods]
impl LoadRun {
    #[new]
    #[pyo3(signature = (
        targets, *, connections=1, messages=None, duration=None, size=32, pipeline=1, rate=None,
        framing=None, text=false, fragment=false, fragment_delay=None, fragment_frames=None,
        seed=None, sources=None, driver=None, hold=0.0, reply_timeout=10.0, connect_timeout=10.0,
        close_timeout=2.0, connect_concurrency=100, spin=0.0, headers=Vec::new(),
        subprotocols=Vec::new(), compress=false, echo=true, own=Vec::new(), ramp_up=0.0,
        steps=Vec::new(), method="GET", ca=None, identity=None, insecure=false,
    ))]
    // Keywords in Python; each is one option of the command.
    #[expect(clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
    fn new(
        py: Python<'_>,
        targets: Vec<(String, Vec<(String, String)>)>,
        connections: u32,
        messages: Option<u64>,
        duration: Option<f64>,
        size: usize,
        pipeline: u32,
        rate: Option<f64>,
        framing: Option<&str>,
        text: bool,
        fragment: bool,
        fragment_delay: Option<f64>,
        fragment_frames: Option<u32>,
        seed: Option<u64>,
        sources: Option<u32>,
        driver: Option<&str>,
        hold: f64,
        reply_timeout: f64,
        connect_timeout: f64,
        close_timeout: f64,
        connect_concurrency: u32,
        spin: f64,
        headers: Vec<(String, String)>,
        subprotocols: Vec<String>,
        compress: bool,
        echo: bool,
        own: Vec<Vec<u8>>,
        ramp_up: f64,
        steps: Vec<(f64, f64)>,
        method: &str,
        ca: Option<Vec<u8>>,
        identity: Option<(Vec<u8>, Vec<u8>)>,
        insecure: bool,
    ) -> PyResult<Self> {
        let mut plan = plan(targets)?;
        plan.connections = connections;
        plan.messages = messages;
        plan.duration = duration.map(|value| span("duration", value)).transpose()?;
        plan.size = size;
        plan.pipeline = pipeline;
        plan.rate = rate;
        if let Some(framing) = framing {
            plan.framing = Framing::parse(framing).map_err(raise)?;
        }
        plan.text = text;
        plan.fragment = fragment.then(Fragment::default);
        if let Some(cutting) = &mut plan.fragment {
            if let Some(delay) = fragment_delay {
                cutting.delay_max = span("fragment_delay", delay)?;
            }
            cutting.frames_max = fragment_frames.unwrap_or(cutting.frames_max);
        }
        plan.seed = seed;
        plan.sources = sources;
        plan.driver = Driver::parse(driver.unwrap_or("auto")).map_err(raise)?;
        plan.hold = span("hold", hold)?;
        plan.reply_timeout = span("reply_timeout", reply_timeout)?;
        plan.connect_timeout = span("connect_timeout", connect_timeout)?;
        plan.close_timeout = span("close_timeout", close_timeout)?;
        plan.connect_concurrency = connect_concurrency;
        plan.spin = span("spin", spin)?;
        plan.headers = headers;
        plan.subprotocols = subprotocols;
        plan.compress = compress;
        plan.reply = if echo { Reply::Echo } else { Reply::None };
        plan.own = own;
        plan.ramp_up = span("ramp_up", ramp_up)?;
        let steps = steps.into_iter();
        plan.steps = steps
            .map(|(rate, seconds)| Ok((rate, span("step", seconds)?)))
            .collect::<PyResult<_>>()?;
        method.clone_into(&mut plan.method);
        plan.tls = TlsSettings {
            authorities: ca,
            identity,
            is_insecure: insecure,
        };
        let run = py.detach(|| BackgroundRun::start(plan)).map_err(raise)?;
        Ok(Self { run })
    }

    /// Wait until the run is over, but at most `max_wait` seconds; how far it has come.
    fn step<'py>(&self, py: Python<'py>, max_wait: f64) -> PyResult<Bound<'py, PyDict>> {
        let max_wait = span("max_wait", max_wait)?;
        let (progress, is_over) = py.detach(|| (self.run.step(max_wait), self.run.is_over()));
        let told = PyDict::new(py);
        told.set_item("phase", progress.phase.name())?;
        told.set_item("over", is_over)?;
        told.set_item("seconds", progress.seconds)?;
        told.set_item("sending_seconds", progress.sending_seconds)?;
        told.set_item("p50", progress.latency.p50)?;
        told.set_item("p90", progress.latency.p90)?;
        told.set_item("p99", progress.latency.p99)?;
        for (name, count) in named_counts(&progress.counts) {
            told.set_item(name, count)?;
        }
        Ok(told)
    }

    /// Send nothing more, wait for what is in flight, and close. Said again: close at once.
    fn stop(&self) {
        self.run.stop();
    }

    /// The report of what was done so far; `None` when the run is over.
    fn so_far<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let report = py.detach(|| self.run.so_far());
        let loads = |report: Report| py.import("json")?.invoke_method("loads", (report.json(),));
        report.map(loads).transpose()
    }

    /// Wait for the end; the report. A second call is a `RuntimeError`.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let report = py.detach(|| self.run.finish()).map_err(raise)?;
        let report =
            report.ok_or_else(|| PyRuntimeError::new_err("the report was given already"))?;
        py.import("json")?.invoke_method("loads", (report.json(),))
    }
}

/// The plan for URLs, each with header lines for itself.
fn plan(targets: Vec<(String, Vec<(String, String)>)>) -> PyResult<Plan> {
    let mut parsed = targets.into_iter().map(|(url, headers)| {
        let mut target = Target::parse(&url).map_err(raise)?;
        target.add_headers(headers);
        Ok(target)
    });
    let first = parsed
        .next()
        .unwrap_or_else(|| Err(PyValueError::new_err("there is no target")))?;
    let mut plan = Plan::new(first);
    for target in parsed {
        plan.targets.push(target?);
    }
    Ok(plan)
}

/// Seconds as a span of time.
fn span(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        PyValueError::new_err(format!("{name} is {seconds}; it must be seconds from 0"))
    })
}

fn raise(error: Error) -> PyErr {
    match error {
        Error::Plan(text) => PyValueError::new_err(text),
        Error::Descriptors(text) => PyOSError::new_err((libc::EMFILE, text)),
        Error::System { source, .. } if source.raw_os_error().is_none() => {
            PyOSError::new_err(source.to_string())
        }
        Error::System { attempt, source } => {
            PyOSError::new_err((source.raw_os_error(), format!("{attempt}: {source}")))
        }
    }
}
