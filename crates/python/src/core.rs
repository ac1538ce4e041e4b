//! `Core`: an engine on a port, driven by an asyncio loop whose selector it is.
//!
//! `select` is the loop's wait. It runs completions in place, turn after turn, and returns to
//! asyncio only when asyncio has something to do: a foreign descriptor is ready, a callback or a
//! timer was scheduled, the loop is to stop, or the time is up. A server whose handlers need
//! nothing of asyncio's never leaves it.

use crate::confined::Confined;
use crate::endpoint::PyEndpoint;
use crate::hooks::Hooks;
use crate::host::PyHost;
use crate::imports;
use crate::listener::Listener;
use crate::loop_handle::LoopHandle;
use crate::timer::{Target, Timer};
use crate::{connection::Connection, options, random, simulation};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vespiary_engine::port::driver::{self, Preference};
use vespiary_engine::port::sim::Hold;
use vespiary_engine::port::{Address, Interest, Port};
use vespiary_engine::{ClientHandshake, Endpoint, Engine, Kind, Opening, Tunnel};

pub(crate) type Conn = vespiary_engine::Connection<PyHost>;

/// The engine of one loop. Only the thread that made it may use it; it may be dropped on any.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct Core {
    shared: Arc<LoopHandle>,
    #[pyo3(get)]
    choice: String,
    /// The driver's name: uring, epoll or sim.
    #[pyo3(get)]
    driver: &'static str,
    started: Instant,
    local: Confined<Local>,
}

/// What only the loop's thread touches, until the loop is closed.
struct Local {
    engine: RefCell<Option<Rc<Engine<PyHost>>>>,
    attached: Cell<bool>,
    /// What keeps the simulation's time from jumping; None on the kernel's drivers.
    hold: Option<Hold>,
}

/// (host, port) for an IP address, a path for a Unix socket.
pub(crate) fn address_object(py: Python<'_>, address: Option<&Address>) -> PyResult<Py<PyAny>> {
    match address {
        Some(Address::Inet(address)) => Ok((address.ip().to_string(), address.port())
            .into_pyobject(py)?
            .into_any()
            .unbind()),
        Some(Address::Unix(path)) if path.as_os_str().is_empty() => Ok(py.None()),
        Some(Address::Unix(path)) => {
            let path = path.as_os_str();
            Ok(path.into_pyobject(py)?.into_any().unbind())
        }
        Some(other) => Ok(other.to_string().into_pyobject(py)?.into_any().unbind()),
        None => Ok(py.None()),
    }
}

/// An address as the Python side writes it: (ip, port), or a path.
pub(crate) fn address_of(address: &Bound<'_, PyAny>) -> PyResult<Address> {
    if let Ok(path) = address.cast::<PyString>() {
        return Ok(Address::Unix(path.to_str()?.into()));
    }
    let (host, port): (String, u16) = address.cast::<PyTuple>()?.extract()?;
    // With a scope behind it (RFC 4007 section 11), only an address in brackets is understood.
    let scoped = || format!("[{host}]:{port}").parse().map(SocketAddr::V6);
    let found = host
        .parse::<IpAddr>()
        .map(|ip| SocketAddr::new(ip, port))
        .or_else(|_| scoped());
    let wrong = |_| PyValueError::new_err(format!("{host:?} is no IP address"));
    found.map(Address::Inet).map_err(wrong)
}

/// Keep glibc from giving the heap's end back to the kernel after every large message.
///
/// A message of 64 KiB that is freed at the heap's end makes free(3) shrink the heap and the next
/// message grow it again, a page fault for every 4 KiB. Up to 16 MiB are kept instead, and blocks
/// up to 4 MiB come from the heap (mallopt(3)). Whoever has set glibc's own variables has decided
/// otherwise.
fn keep_heap() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let decided = |name| std::env::var_os(name).is_some();
        if decided("GLIBC_TUNABLES")
            || decided("MALLOC_TRIM_THRESHOLD_")
            || decided("MALLOC_MMAP_THRESHOLD_")
        {
            return;
        }
        #[cfg(target_env = "gnu")]
        // SAFETY: mallopt only sets parameters of the allocator.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 4 << 20);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 16 << 20);
        }
    });
}

/// The kernel's driver that a name asks for.
fn preference(driver: Option<&str>) -> PyResult<Option<Preference>> {
    match driver {
        None => Ok(None),
        Some("uring") => Ok(Some(Preference::Uring)),
        Some("epoll") => Ok(Some(Preference::Epoll)),
        Some(other) => Err(PyValueError::new_err(format!(
            "{other:?} is not a driver: use 'uring', 'epoll', or 'sim' in tests"
        ))),
    }
}

struct OnThisThread<'a>(&'a Engine<PyHost>);

// SAFETY: `detach` runs its closure on the calling thread; only the attachment to the interpreter
// is given up, and `Engine::wait` touches no Python object.
unsafe impl Send for OnThisThread<'_> {}

impl OnThisThread<'_> {
    fn wait(&self, timeout: Option<Duration>) -> std::io::Result<()> {
        self.0.wait(timeout)
    }
}

impl Core {
    fn on(
        port: Box<dyn Port>,
        choice: String,
        random: vespiary_engine::Random,
        hold: Option<Hold>,
    ) -> Self {
        let engine = Engine::new(PyHost::default(), port, random);
        let shared = LoopHandle::new(engine.waker());
        engine.host.set_shared(shared.clone());
        let driver = engine.driver();
        let local = Confined::new(Local {
            engine: RefCell::new(Some(engine)),
            attached: Cell::new(false),
            hold,
        });
        Self {
            shared,
            choice,
            driver,
            started: Instant::now(),
            local,
        }
    }

    /// The time by which `select` measures its timeout: the kernel's, or the simulation's.
    fn now(&self, engine: &Engine<PyHost>) -> Duration {
        if self.driver == "sim" {
            Duration::from_nanos(engine.now())
        } else {
            self.started.elapsed()
        }
    }

    fn local(&self) -> PyResult<&Local> {
        self.local.get().ok_or_else(|| {
            PyRuntimeError::new_err("a loop's core belongs to the thread that made the loop")
        })
    }

    fn engine(&self) -> PyResult<Rc<Engine<PyHost>>> {
        let engine = self.local()?.engine.borrow().clone();
        engine.ok_or_else(|| PyRuntimeError::new_err("the loop is closed"))
    }

    fn run_errands(&self, py: Python<'_>) {
        for call in self.shared.take() {
            Connection::run_thread_call(py, call);
        }
    }

    fn turn(
        &self,
        py: Python<'_>,
        engine: &Rc<Engine<PyHost>>,
        timeout: Option<Duration>,
    ) -> PyResult<()> {
        let waiting = OnThisThread(engine);
        py.detach(move || waiting.wait(timeout))?;
        py.check_signals()?;
        self.run_errands(py);
        engine.run();
        match engine.host.take_fatal() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// What the loop has to do, as far as `select` must know.
struct LoopState<'py> {
    event_loop: Bound<'py, PyAny>,
    ready: Bound<'py, PyAny>,
    scheduled: Bound<'py, PyAny>,
    scheduled_count: usize,
}

impl<'py> LoopState<'py> {
    fn of(event_loop: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = event_loop.py();
        let scheduled = event_loop.getattr(pyo3::intern!(py, "_scheduled"))?;
        Ok(Self {
            event_loop: event_loop.clone(),
            ready: event_loop.getattr(pyo3::intern!(py, "_ready"))?,
            scheduled_count: scheduled.len()?,
            scheduled,
        })
    }

    fn has_work(&self) -> PyResult<bool> {
        let py = self.event_loop.py();
        Ok(self.ready.len()? > 0
            || self.scheduled.len()? != self.scheduled_count
            || self
                .event_loop
                .getattr(pyo3::intern!(py, "_stopping"))?
                .is_truthy()?)
    }
}

#[pymethods]
impl Core {
    /// An engine on the driver that is asked for, or on the best that works here.
    #[new]
    #[pyo3(signature = (
        driver = None, spin_microseconds = 0, buffers = None, buffer_bytes = None, seed = 0,
        faults = None
    ))]
    fn new(
        py: Python<'_>,
        driver: Option<&str>,
        spin_microseconds: u32,
        buffers: Option<u16>,
        buffer_bytes: Option<u32>,
        seed: u64,
        faults: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        if driver == Some("sim") {
            let opened = simulation::open(seed, faults)?;
            let choice = format!("Using the simulation with seed {seed}.");
            return Ok(Self::on(
                opened.port,
                choice,
                opened.random,
                Some(opened.hold),
            ));
        }
        let mut chosen = driver::Options {
            spin_microseconds,
            ..driver::Options::default()
        };
        if let Some(buffers) = buffers {
            chosen.buffers = buffers;
        }
        if let Some(bytes) = buffer_bytes {
            chosen.buffer_bytes = bytes;
        }
        keep_heap();
        let (port, choice) = driver::open(preference(driver)?, &chosen).map_err(|error| {
            imports::error(imports::driver_unavailable_class(py), |class| {
                let arguments = (driver.unwrap_or("any"), error.to_string());
                Ok(PyErr::from_value(class.call1(arguments)?))
            })
        })?;
        Ok(Self::on(port, choice, random::source(), None))
    }

    /// The simulation's time in seconds.
    fn time(&self) -> PyResult<f64> {
        Ok(Duration::from_nanos(self.engine()?.now()).as_secs_f64())
    }

    /// Whether a thread works for the program: then the simulation's time does not jump.
    fn hold_time(&self, is_held: bool) -> PyResult<()> {
        if let Some(hold) = &self.local()?.hold {
            if is_held {
                hold.take();
            } else {
                hold.release();
            }
        }
        Ok(())
    }

    /// Watch a foreign descriptor: 1 for reading, 2 for writing, 3 for both.
    fn register(&self, descriptor: i32, events: u8) -> PyResult<()> {
        let interest = Interest {
            read: events & 1 != 0,
            write: events & 2 != 0,
        };
        self.engine()?
            .poll(descriptor, interest)
            .map_err(|error| imports::os_error(&error))
    }

    /// Stop watching a foreign descriptor.
    fn unregister(&self, descriptor: i32) -> PyResult<()> {
        self.engine()?.unpoll(descriptor);
        Ok(())
    }

    /// Run completions until the loop has work or `timeout` seconds have passed (None: no limit).
    /// Returns the foreign descriptors that are ready, as (descriptor, events).
    fn select(
        &self,
        py: Python<'_>,
        timeout: Option<f64>,
        event_loop: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<(i32, u8)>> {
        let engine = self.engine()?;
        let state = LoopState::of(event_loop)?;
        if !self.local()?.attached.replace(true) {
            self.shared
                .set_event_loop(Some(event_loop.clone().unbind()));
        }
        let mut left = timeout.map(|seconds| Duration::from_secs_f64(seconds.max(0.0)));
        let deadline = left
            .filter(|left| !left.is_zero())
            .map(|left| self.now(&engine) + left);
        loop {
            engine.settle();
            if engine.host.has_wakes() || state.has_work()? {
                left = Some(Duration::ZERO);
            }
            self.turn(py, &engine, left)?;
            if left == Some(Duration::ZERO) || engine.host.has_ready() || state.has_work()? {
                break;
            }
            if let Some(deadline) = deadline {
                let rest = deadline.saturating_sub(self.now(&engine));
                if rest.is_zero() {
                    break;
                }
                left = Some(rest);
            }
        }
        Ok(engine.host.take_ready())
    }

    /// Listen on an address: (ip, port) or a path.
    #[pyo3(signature = (address, url, hooks, options, backlog = 4096, reuse_port = false))]
    fn listen(
        &self,
        address: &Bound<'_, PyAny>,
        url: String,
        hooks: &Bound<'_, Hooks>,
        options: &Bound<'_, PyDict>,
        backlog: u32,
        reuse_port: bool,
    ) -> PyResult<Py<Listener>> {
        let py = address.py();
        let engine = self.engine()?;
        let (options, inbox) = options::read(options)?;
        let endpoint = Endpoint::new(options, PyEndpoint::new(url, hooks, inbox)?);
        let address = address_of(address)?;
        let listener = engine
            .listen(&address, endpoint, backlog, reuse_port)
            .map_err(|error| imports::os_error(&error))?;
        let listener = Py::new(py, Listener::new(listener, engine.clone()))?;
        let mut listeners = engine.host.listeners.borrow_mut();
        listeners.push(listener.clone_ref(py));
        Ok(listener)
    }

    /// Connect to an address; the hook `outcome` is called with (connection, None, None, None,
    /// None) or (None, reason, headers, body, cause). `handshake` is (host, target, subprotocols,
    /// headers) for WebSocket; `tunnel` is (authority, headers) where the address is a proxy's.
    #[pyo3(signature = (
        address, url, hooks, options, handshake = None, tunnel = None, source = None
    ))]
    #[allow(clippy::type_complexity)] // A handshake's four facts, checked on the Python side.
    fn connect(
        &self,
        address: &Bound<'_, PyAny>,
        url: String,
        hooks: &Bound<'_, Hooks>,
        options: &Bound<'_, PyDict>,
        handshake: Option<(String, String, Vec<String>, Vec<(String, String)>)>,
        tunnel: Option<(String, Vec<(String, String)>)>,
        source: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<Connection>> {
        let engine = self.engine()?;
        let (options, inbox) = options::read(options)?;
        let endpoint = Endpoint::new(options, PyEndpoint::new(url, hooks, inbox)?);
        let handshake = handshake.map(|(host, target, protocols, headers)| ClientHandshake {
            host,
            target,
            protocols,
            headers,
        });
        let tunnel = tunnel.map(|(authority, headers)| Tunnel { authority, headers });
        let opening = Opening { tunnel, handshake };
        let source = source.map(address_of).transpose()?;
        let address = address_of(address)?;
        let connection = engine
            .connect(&address, source.as_ref(), endpoint, opening)
            .map_err(|error| imports::os_error(&error))?;
        engine.host.object(&connection)
    }

    /// Send a message to everybody subscribed to a topic, but perhaps to one; how many took it.
    #[pyo3(signature = (topic, message, but = None, compress = None))]
    fn publish(
        &self,
        topic: &str,
        message: &Bound<'_, PyAny>,
        but: Option<&Bound<'_, Connection>>,
        compress: Option<bool>,
    ) -> PyResult<usize> {
        let but = match but {
            Some(connection) => connection
                .get()
                .living()?
                .map(|connection| connection.token()),
            None => None,
        };
        let engine = self.engine()?;
        crate::send::with_payload(message, |kind: Kind, payload| {
            engine.publish_choosing(topic, kind, payload, compress, but)
        })
    }

    /// How many connections are subscribed to a topic.
    fn subscribers(&self, topic: &str) -> PyResult<usize> {
        Ok(self.engine()?.subscribers(topic))
    }

    /// Call `callback` without arguments in `seconds`.
    fn set_timer(&self, seconds: f64, callback: Py<PyAny>) -> PyResult<Timer> {
        Timer::set(&self.engine()?, seconds, Target::Server(callback))
    }

    /// What the driver did since its start, as the fields of PortStatistics.
    fn port_statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counters = self.engine()?.port_counters();
        let statistics = PyDict::new(py);
        statistics.set_item("driver", self.driver)?;
        statistics.set_item("turns", counters.turns)?;
        statistics.set_item("system_calls", counters.system_calls)?;
        statistics.set_item("completions", counters.completions)?;
        statistics.set_item("buffers_exhausted", counters.buffers_exhausted)?;
        Ok(statistics)
    }

    /// End everything at once: connections are reset, listeners closed, the port given back.
    fn close(&self) -> PyResult<()> {
        let local = self.local()?;
        let Some(engine) = local.engine.take() else {
            return Ok(());
        };
        let ended = engine.shut_down(1000);
        engine.host.timers.clear();
        for listener in engine.host.listeners.take() {
            listener.get().let_go();
        }
        self.shared.set_event_loop(None);
        ended.map_err(|error| imports::os_error(&error))
    }
}
