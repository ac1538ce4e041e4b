//! An engine on any driver, turned by the test.

use super::host::{Conn, Script, TestHost, Told};
use super::peer::Peer;
use super::watch::{Book, Watched};
use std::cell::RefCell;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};
use vespiary_engine::port::driver::{self, Preference};
use vespiary_engine::port::sim::{Faults, Random, Sim, World};
use vespiary_engine::port::{Address, Port};
use vespiary_engine::{CloseReason, Counters, Endpoint, Engine, Listener, Options};

/// What the mask keys and nonces of a bench's clients are drawn from.
pub const RANDOM_SEED: u64 = 7;

/// How long a test waits for something before it says that it did not come.
const PATIENCE: Duration = Duration::from_secs(20);
const SIMULATED_TURNS_MAX: u64 = 200_000;

/// A driver to test on.
#[derive(Clone, Debug)]
pub enum Driver {
    /// One of the kernel's.
    Kernel(Preference),
    /// io_uring with queues far smaller than the load.
    SmallRing,
    /// The simulation, with its seed and faults.
    Simulated(u64, Faults),
}

impl Driver {
    /// Run `scenario` on it, and see that the engine leaves nothing behind.
    ///
    /// Where the kernel refuses io_uring, its tests say so and do nothing; `VESPIARY_FORBID_SKIPS`
    /// forbids that.
    pub fn run(self, scenario: fn(&Bench)) {
        let bench = match Bench::new(&self) {
            Ok(bench) => bench,
            Err(reason) => {
                let forbidden = std::env::var_os("VESPIARY_FORBID_SKIPS").is_some();
                assert!(!forbidden, "skipping is forbidden: {reason}");
                eprintln!("SKIPPED: {reason}");
                return;
            }
        };
        scenario(&bench);
        bench.end();
    }
}

/// Make a test on every driver of each scenario.
#[allow(unused_macros)]
macro_rules! on_every_driver {
    ($($scenario:ident),* $(,)?) => { $(
        mod $scenario {
            use $crate::kit::Driver;
            use vespiary_engine::port::{driver::Preference, sim::Faults};

            #[test]
            fn on_uring() {
                Driver::Kernel(Preference::Uring).run(super::$scenario);
            }

            #[test]
            fn on_epoll() {
                Driver::Kernel(Preference::Epoll).run(super::$scenario);
            }

            #[test]
            fn on_sim() {
                Driver::Simulated(1, Faults::none()).run(super::$scenario);
            }
        }
    )* };
}

/// The same, and in simulations where everything goes wrong that loses no byte.
#[allow(unused_macros)]
macro_rules! on_every_driver_and_with_faults {
    ($($scenario:ident),* $(,)?) => { $(
        mod $scenario {
            use $crate::kit::Driver;
            use vespiary_engine::port::{driver::Preference, sim::Faults};

            #[test]
            fn on_uring() {
                Driver::Kernel(Preference::Uring).run(super::$scenario);
            }

            #[test]
            fn on_epoll() {
                Driver::Kernel(Preference::Epoll).run(super::$scenario);
            }

            #[test]
            fn on_sim() {
                Driver::Simulated(1, Faults::none()).run(super::$scenario);
            }

            #[test]
            fn on_sim_with_faults() {
                for seed in 0..20 {
                    eprintln!("seed {seed}");
                    Driver::Simulated(seed, Faults::lossless()).run(super::$scenario);
                }
            }
        }
    )* };
}

/// A listener of a test's.
pub struct Place {
    /// The engine's listener.
    pub listener: Rc<Listener<TestHost>>,
    /// Where it listens.
    pub address: Address,
}

impl Place {
    /// The endpoint it feeds.
    pub fn endpoint(&self) -> &Rc<Endpoint<TestHost>> {
        &self.listener.endpoint
    }

    /// Its endpoint's counters.
    pub fn counters(&self) -> &Counters {
        &self.listener.endpoint.counters
    }
}

/// An engine, and the world around it.
pub struct Bench {
    /// The engine under test.
    pub engine: Rc<Engine<TestHost>>,
    /// What went through its port.
    pub book: Rc<RefCell<Book>>,
    /// The world of a simulated port.
    pub world: Option<World>,
}

/// An address on the loopback, its port to be chosen.
pub fn any_address() -> Address {
    Address::Inet(([127, 0, 0, 1], 0).into())
}

fn kernel_port(preference: Preference, options: &driver::Options) -> Result<Box<dyn Port>, String> {
    let opened = driver::open(Some(preference), options);
    Ok(opened.map_err(|error| error.to_string())?.0)
}

impl Bench {
    /// An engine on `driver`, or why there is none.
    pub fn new(driver: &Driver) -> Result<Self, String> {
        let (port, world): (Box<dyn Port>, _) = match driver {
            Driver::Kernel(preference) => {
                (kernel_port(*preference, &driver::Options::default())?, None)
            }
            Driver::SmallRing => {
                let options = driver::Options {
                    submission_entries: 4,
                    completion_entries: 8,
                    ..driver::Options::default()
                };
                (kernel_port(Preference::Uring, &options)?, None)
            }
            Driver::Simulated(seed, faults) => {
                let sim = Sim::new(*seed, faults.clone());
                let world = sim.world();
                (Box::new(sim), Some(world))
            }
        };
        let (port, book) = Watched::new(port);
        let mut random = Random::new(RANDOM_SEED);
        let random = move |bytes: &mut [u8]| bytes.fill_with(|| random.draw() as u8);
        let engine = Engine::new(TestHost::default(), Box::new(port), Box::new(random));
        engine.set_wall_clock(|| std::time::UNIX_EPOCH);
        Ok(Self {
            engine,
            book,
            world,
        })
    }

    /// The engine's host.
    pub fn host(&self) -> &TestHost {
        &self.engine.host
    }

    /// Whether time is virtual.
    pub fn is_simulated(&self) -> bool {
        self.world.is_some()
    }

    /// Listen on the loopback.
    pub fn listen(&self, options: Options, script: Script) -> Place {
        self.listen_at(&any_address(), options, script)
    }

    /// Listen at `address`.
    pub fn listen_at(&self, address: &Address, options: Options, script: Script) -> Place {
        let endpoint = script.endpoint(options);
        let listener = self
            .engine
            .listen(address, endpoint, 4096, false)
            .expect("a listener");
        listener.unsuspend();
        let address = listener.address().expect("an address");
        Place { listener, address }
    }

    /// A peer connected to `place`. The engine may not have accepted it yet.
    pub fn connect(&self, place: &Place) -> Peer {
        if let Some(world) = &self.world {
            return Peer::simulated(world.connect(&place.address).expect("a connection"));
        }
        match &place.address {
            Address::Inet(address) => Peer::tcp(TcpStream::connect(address).expect("a connection")),
            Address::Unix(path) => Peer::unix(UnixStream::connect(path).expect("a connection")),
            Address::Abstract(_) => unimplemented!("no test uses one"),
        }
    }

    /// A peer connected to `place`, which the engine has opened.
    pub fn connect_open(&self, place: &Place) -> Peer {
        let before = place.counters().opened.get();
        let peer = self.connect(place);
        self.until("a connection to open", || {
            place.counters().opened.get() > before
        });
        peer
    }

    /// The engine's connection that was opened or asked about last.
    pub fn latest(&self) -> Conn {
        let log = self.host().log();
        let token = log.iter().rev().find_map(|told| match told {
            Told::Opened(token) | Told::Request(token, _) => Some(*token),
            _ => None,
        });
        let all = self.engine.all_connections();
        let found = all
            .into_iter()
            .find(|connection| Some(connection.token()) == token);
        found.expect("a connection that stands")
    }

    /// One turn, waiting for at most a millisecond.
    pub fn turn(&self) {
        self.turn_for(Duration::from_millis(1));
    }

    /// One turn, waiting for at most `timeout`; how many completions and timers it handled.
    pub fn turn_for(&self, timeout: Duration) -> usize {
        self.engine.wait(Some(timeout)).expect("a turn");
        self.engine.run()
    }

    /// Turn until `done` says so; it is asked before the first turn.
    pub fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let start = Instant::now();
        let mut turns = 0;
        while !done() {
            self.turn();
            turns += 1;
            let is_over = if self.is_simulated() {
                turns > SIMULATED_TURNS_MAX
            } else {
                start.elapsed() > PATIENCE
            };
            assert!(
                !is_over,
                "{what} did not come; the host was called with {:?}",
                self.last_told()
            );
        }
    }

    /// How long it takes until a connection is closed, in milliseconds, and why it is; `act` is
    /// called before each turn.
    pub fn time_until_closed(&self, mut act: impl FnMut()) -> (u64, CloseReason) {
        let start = self.engine.now_ms();
        let before = self.host().reasons().len();
        self.until("the end of a connection", || {
            act();
            self.host().reasons().len() > before
        });
        (
            self.engine.now_ms() - start,
            self.host().reasons().pop().expect("a reason"),
        )
    }

    /// Turn until nothing happens for a while.
    pub fn settle(&self) {
        let mut idle = 0;
        while idle < 10 {
            idle = if self.turn_for(Duration::from_millis(2)) == 0 {
                idle + 1
            } else {
                0
            };
        }
    }

    /// Turn for so long, in the engine's own time.
    pub fn pass(&self, milliseconds: u64) {
        let end = self.engine.now_ms() + milliseconds;
        while self.engine.now_ms() < end {
            let left = end - self.engine.now_ms();
            self.turn_for(Duration::from_millis(left));
        }
    }

    /// Let so much time pass, in which the engine takes no turn.
    pub fn skip(&self, time: Duration) {
        match &self.world {
            Some(world) => world.pass(time),
            None => self.book.borrow_mut().skipped += time.as_nanos() as u64,
        }
    }

    /// Do something in so many milliseconds, in a callback of its own.
    pub fn after(&self, milliseconds: u64, later: impl FnOnce() + 'static) {
        let id = self.host().keep(Box::new(later));
        self.engine.set_timer(milliseconds, id);
    }

    /// Turn until the host knows that so many connections closed or were refused.
    pub fn until_closed(&self, count: usize) {
        self.until("the close of a connection", || {
            self.host().reasons().len() >= count
        });
    }

    fn last_told(&self) -> Vec<Told> {
        let log = self.host().log();
        log[log.len().saturating_sub(10)..].to_vec()
    }

    /// Shut the engine down, and see that nothing is left of it.
    pub fn end(self) {
        let timers = self.engine.timer_count();
        self.engine.shut_down(10_000).expect("a turn");
        assert_eq!(self.engine.connection_count(), 0, "connections are left");
        assert_eq!(
            self.host().open(),
            0,
            "the host was not notified of every end"
        );
        assert_eq!(self.book.borrow().left(), "");
        if let Some(world) = &self.world {
            world.assert_no_leaks();
        }
        assert_eq!(self.engine.timer_count(), 0, "timers are left of {timers}");
        assert_eq!(
            Rc::strong_count(&self.engine),
            1,
            "something holds the engine"
        );
    }
}
