//! `Core`: an engine on a port, run by an asyncio loop: one whose selector it is, or any other
//! whose guest it is (`turns`).

use crate::addresses::address_of;
use crate::arguments;
use crate::calls::Invoke as _;
use crate::collecting::visit_engine;
use crate::confined::{Confine, Confined};
use crate::endpoint::PyEndpoint;
use crate::hooks::Hooks;
use crate::host::PyHost;
use crate::imports;
use crate::listener::{Listener, Socket, add_listener};
use crate::loop_handle::{LoopHandle, forked_error};
use crate::site::Site;
use crate::statistics::{self, AtClose};
use crate::thread_calls::{ThreadCall, on_loop};
use crate::timer::{self, Timer};
use crate::timers::Target;
use crate::topics::Topics;
use crate::turns::seconds;
use crate::{connection::Connection, context, options, random, simulation};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use vespiary_engine::port::Port;
use vespiary_engine::port::driver::{self, Preference};
use vespiary_engine::port::sim::Hold;
use vespiary_engine::{ClientHandshake, Endpoint, Engine, Opening, Tunnel};

pub(crate) type Conn = vespiary_engine::Connection<PyHost>;

/// The engine of one loop. Only the thread that made it may use it; it may be dropped on any.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct Core {
    pub(crate) shared: Arc<LoopHandle>,
    #[pyo3(get)]
    choice: String,
    /// The driver's name: uring, epoll or sim.
    #[pyo3(get)]
    driver: &'static str,
    started: Instant,
    local: Confined<Local>,
    at_close: OnceLock<AtClose>,
}

/// What only the loop's thread touches, until the loop is closed.
struct Local {
    engine: RefCell<Option<Rc<Engine<PyHost>>>>,
    /// What keeps the simulation's time from jumping; None on the kernel's drivers.
    hold: Option<Hold>,
}

// SAFETY: never independent.
unsafe impl Confine for Local {}

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

impl Core {
    fn on(
        port: Box<dyn Port>,
        choice: String,
        random: vespiary_engine::Random,
        hold: Option<Hold>,
    ) -> Self {
        let engine = Engine::new(PyHost::default(), port, random);
        let shared = LoopHandle::new(engine.waker());
        engine.host.set_handle(shared.clone());
        let driver = engine.driver();
        let local = Local {
            engine: RefCell::new(Some(engine)),
            hold,
        };
        let local = Confined::new(shared.clone(), local);
        Self {
            shared,
            choice,
            driver,
            started: Instant::now(),
            local,
            at_close: OnceLock::new(),
        }
    }

    /// The time by which `select` measures its timeout: the kernel's, or the simulation's.
    pub(crate) fn now(&self, engine: &Engine<PyHost>) -> Duration {
        if self.driver == "sim" {
            Duration::from_nanos(engine.now())
        } else {
            self.started.elapsed()
        }
    }

    fn local(&self) -> PyResult<&Local> {
        if self.shared.is_forked() {
            return Err(forked_error());
        }
        self.local.get().ok_or_else(|| {
            PyRuntimeError::new_err(
                "the loop runs in another thread: use its call_soon_threadsafe from here",
            )
        })
    }

    /// The calling thread runs the loop from now on, or changes or closes it while no thread runs
    /// it. asyncio ensures that only one thread at a time does so. Servers and connections stay in
    /// their thread until the loop is closed (`is_closing`).
    pub(crate) fn enter_thread(&self, is_closing: bool) -> PyResult<()> {
        if self.shared.is_here() {
            return Ok(());
        }
        if self.shared.is_forked() {
            return Err(forked_error());
        }
        // SAFETY: the loop runs in no other thread, as the caller knows from asyncio.
        let local = unsafe { self.local.get_anywhere() };
        let engine = local.engine.borrow().clone();
        if engine.is_some_and(|it| it.host.is_in_turn() || it.is_in_use() && !is_closing) {
            return Err(PyRuntimeError::new_err(
                "the loop has servers or connections, which belong to the thread that ran it: run \
                 it there until they are closed",
            ));
        }
        self.shared.enter_thread();
        if let (Ok(engine), false) = (self.engine(), is_closing) {
            engine.change_thread();
            Python::attach(|py| crate::event_loop::begin_receives_again(py, self, &engine));
        }
        Ok(())
    }

    pub(crate) fn engine(&self) -> PyResult<Rc<Engine<PyHost>>> {
        let engine = self.local()?.engine.borrow().clone();
        engine.ok_or_else(|| PyRuntimeError::new_err("the loop is closed"))
    }
}

impl Core {
    /// Run something on the loop's thread, while the calling thread waits.
    pub(crate) fn ask<T: Send + 'static>(
        slf: &Bound<'_, Self>,
        act: impl FnOnce(Python<'_>, &Self) -> PyResult<T> + Send + 'static,
    ) -> PyResult<T> {
        let core = slf.clone().unbind();
        on_loop(slf.py(), &slf.get().shared, move |py| act(py, core.get()))
    }

    /// What was counted until the loop was closed, once it is.
    pub(crate) fn at_close(&self) -> Option<&AtClose> {
        self.at_close.get()
    }
}

#[pymethods]
impl Core {
    /// An engine on the driver that is asked for, or on the best that works here.
    #[new]
    #[pyo3(signature = (
        driver = None, spin_microseconds = 0, buffers = None, buffer_bytes = None, seed = 0,
        faults = None, is_guest = false
    ))]
    #[allow(clippy::too_many_arguments)] // Named options, on the Python side.
    fn new(
        py: Python<'_>,
        driver: Option<&str>,
        spin_microseconds: u32,
        buffers: Option<u16>,
        buffer_bytes: Option<u32>,
        seed: u64,
        faults: Option<&Bound<'_, PyDict>>,
        is_guest: bool,
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
            is_watched: is_guest,
            ..driver::Options::default()
        };
        if let Some(buffers) = buffers {
            chosen.buffers = buffers;
        }
        if let Some(bytes) = buffer_bytes {
            chosen.buffer_bytes = bytes;
        }
        let (port, choice) = driver::open(preference(driver)?, &chosen).map_err(|error| {
            imports::error(imports::driver_unavailable_class(py), |class| {
                let arguments = (driver.unwrap_or("any"), error.to_string());
                Ok(PyErr::from_value(class.invoke(arguments)?))
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
        if self.shared.is_forked() {
            return Ok(());
        }
        self.watch(descriptor, |watched| watched.set_foreign(events))
    }

    /// Stop watching a foreign descriptor.
    fn unregister(&self, descriptor: i32) -> PyResult<()> {
        if self.shared.is_forked() {
            return Ok(());
        }
        self.watch(descriptor, |watched| watched.set_foreign(0))
    }

    /// Run completions until the loop has work or `timeout` seconds have passed (None: no limit).
    /// Returns the foreign descriptors that are ready, as (descriptor, events).
    fn select(
        &self,
        py: Python<'_>,
        timeout: Option<f64>,
        event_loop: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<(i32, u8)>> {
        self.turns(py, seconds(timeout)?, event_loop)
    }

    /// Use the loop in this thread: it runs in no other.
    /// One with servers or connections stays in its thread, unless it `is_closing`.
    #[pyo3(name = "enter_thread", signature = (is_closing = false))]
    fn enter(&self, is_closing: bool) -> PyResult<()> {
        if self.shared.is_forked() {
            return Ok(());
        }
        self.enter_thread(is_closing)
    }

    /// Become the guest of a loop that is not ours: `schedule` is called, outside a turn, to have
    /// one taken in the loop's next iteration; the guest then calls `turn`.
    fn attach(&self, event_loop: &Bound<'_, PyAny>, schedule: Py<PyAny>) -> PyResult<()> {
        let engine = self.engine()?;
        self.shared.attach(event_loop)?;
        engine.host.wanted.set_schedule(schedule);
        Ok(())
    }

    /// The descriptor that the loop watches to call `turn` when it is readable. It may change in a
    /// turn.
    fn fileno(&self) -> PyResult<i32> {
        let descriptor = self.engine()?.descriptor();
        descriptor.map_err(|error| imports::os_error(&error))
    }

    /// Take turns without waiting, as a guest. Returns after how many seconds the next is due
    /// should the descriptor not become readable before: 0 means at once, None never.
    fn turn(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let rest = self.turns_of_guest(py)?;
        Ok(rest.map(|rest| rest.as_secs_f64()))
    }

    /// Call what takes a guest's turn and arranges the next. Where it raises, another turn is
    /// taken: everything that was not done is done there.
    fn guarded(&self, py: Python<'_>, function: &Bound<'_, PyAny>) -> PyResult<()> {
        let outcome = function.invoke(()).map(drop);
        if outcome.is_err()
            && let Ok(engine) = self.engine()
        {
            engine.host.take_another_turn(py);
        }
        outcome
    }

    /// Make a space for the topics of one server, which retains so many messages at most, and so
    /// many bytes of them.
    fn topics(
        slf: &Bound<'_, Self>,
        retained_messages_max: Option<usize>,
        retained_bytes_max: Option<usize>,
    ) -> PyResult<Topics> {
        Topics::new(slf, retained_messages_max, retained_bytes_max)
    }

    /// Make an endpoint, for which listeners may accept. Its connections subscribe in the space
    /// `topics`, and get copies of `context`.
    fn site(
        &self,
        url: String,
        hooks: &Bound<'_, Hooks>,
        options: &Bound<'_, PyDict>,
        topics: &Bound<'_, Topics>,
        context: Py<PyAny>,
    ) -> PyResult<Site> {
        let (options, inbox, tls) = options::read(options)?;
        let endpoint = Endpoint::new(options, PyEndpoint::new(url, hooks, inbox, context, tls)?);
        endpoint.topics.set(Some(topics.get().space));
        Ok(Site::new(endpoint, &self.engine()?))
    }

    /// Listen on an address, (ip, port) or a path, or on the descriptor of a socket that listens
    /// already; nothing is accepted before `resume`.
    #[pyo3(signature = (address, site, backlog = 4096, reuse_port = false))]
    fn listen(
        &self,
        address: &Bound<'_, PyAny>,
        site: &Bound<'_, Site>,
        backlog: u32,
        reuse_port: bool,
    ) -> PyResult<Py<Listener>> {
        let py = address.py();
        let engine = self.engine()?;
        let endpoint = site.get().endpoint()?;
        let listener = if let Ok(socket) = address.extract::<i32>() {
            engine.adopt(socket, endpoint)
        } else {
            engine.listen(&address_of(address)?, endpoint, backlog, reuse_port)
        };
        let listener = listener.map_err(|error| imports::os_error(&error))?;
        add_listener(py, &engine, Socket::Stream(listener))
    }

    /// Connect to an address; the hook `outcome` is called with (connection, None, None, None,
    /// None) or (None, reason, headers, body, cause). `handshake` is (host, target, subprotocols,
    /// headers) for WebSocket; `tunnel` is (authority, headers) where the address is a proxy's.
    #[pyo3(signature = (
        address, url, hooks, options, handshake = None, tunnel = None, source = None
    ))]
    #[allow(clippy::type_complexity, clippy::too_many_arguments)] // Facts that Python has checked.
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
        let (options, inbox, tls) = options::read(options)?;
        let context = context::copy_current(hooks.py())?;
        let endpoint = Endpoint::new(options, PyEndpoint::new(url, hooks, inbox, context, tls)?);
        endpoint.topics.set(None);
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

    /// Call `callback` without arguments in `seconds`, or every so many seconds, until the server's
    /// run with the number `owner` ends.
    #[pyo3(signature = (seconds, callback, repeat = false, owner = 0))]
    fn set_timer(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::seconds)] seconds: f64,
        #[pyo3(from_py_with = arguments::callback)] callback: Py<PyAny>,
        repeat: bool,
        owner: u64,
    ) -> PyResult<Timer> {
        let context = context::copy_current(slf.py())?;
        Self::ask(slf, move |_, core| {
            let target = Target::Server(callback, context, owner);
            Timer::set(&core.engine()?, seconds, target, repeat)
        })
    }

    /// Cancel the timers that a server's run has set.
    fn cancel_timers(slf: &Bound<'_, Self>, owner: u64) -> PyResult<()> {
        Self::ask(slf, move |_, core| {
            let engine = core.engine()?;
            for id in engine.host.timers.of_server(owner) {
                timer::forget(&engine, id);
            }
            Ok(())
        })
    }

    /// Call `callback(*arguments)` on the loop's thread, in the caller's context, from any thread.
    ///
    /// Raises:
    ///     RuntimeError: the loop is closed, or belongs to the parent of this process.
    ///     ThreadCallsFull: the loop takes no calls of other threads.
    #[pyo3(signature = (callback, *arguments))]
    fn call_soon_threadsafe(
        &self,
        callback: Bound<'_, PyAny>,
        arguments: Bound<'_, PyTuple>,
    ) -> PyResult<()> {
        let py = callback.py();
        if !callback.is_callable() {
            return Err(PyTypeError::new_err(format!(
                "a callback must be callable; got {callback:?}"
            )));
        }
        let context = context::copy_current(py)?;
        let call = ThreadCall::Callable(callback.unbind(), arguments.into_any().unbind(), context);
        self.shared.add(py, call)
    }

    /// What the driver did, until the close of the loop, as the fields of PortStatistics.
    fn port_statistics(slf: &Bound<'_, Self>) -> PyResult<Py<PyDict>> {
        let asked = Self::ask(slf, |_, core| Ok(core.engine()?.port_counters()));
        let counters = match slf.get().at_close() {
            Some(at_close) => at_close.port,
            None => asked?,
        };
        statistics::of_port(slf.py(), slf.get().driver, counters)
    }

    /// What the timers did, until the close of the loop, as the fields of TimerStatistics.
    fn timer_statistics(slf: &Bound<'_, Self>) -> PyResult<Py<PyDict>> {
        let asked = Self::ask(slf, |_, core| Ok(core.engine()?.host.timers.counters()));
        let counters = match slf.get().at_close() {
            Some(at_close) => at_close.timers,
            None => asked?,
        };
        statistics::of_timers(slf.py(), counters)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if self.shared.is_forked() {
            return Ok(());
        }
        // SAFETY: see `collecting`.
        let local = unsafe { self.local.get_anywhere() };
        let Ok(engine) = local.engine.try_borrow() else {
            return Ok(());
        };
        match engine.as_ref() {
            Some(engine) => visit_engine(engine, &visit),
            None => Ok(()),
        }
    }

    /// End everything at once: connections are reset, listeners closed, the port given back.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.shared.is_forked() {
            // The parent's: nothing of it is touched here.
            return Ok(());
        }
        self.enter_thread(true)?;
        let Some(engine) = self.local()?.engine.take() else {
            return Ok(());
        };
        let _ = self.at_close.set(AtClose::of(&engine));
        engine.host.is_closing.set(true);
        let ended = engine.shut_down(1000);
        let released = engine.host.let_go(py);
        self.shared.close();
        released?;
        match ended {
            // The ring of another thread, which has ended it or will: nothing to wait for.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            ended => ended.map_err(|error| imports::os_error(&error)),
        }
    }
}
