//! One seed: its world, the turns of its life, its healing, and what must hold at its end.

use crate::actor::{Actor, Manners};
use crate::bounds::Bounds;
use crate::client::Client;
use crate::kit::{Bench, Driver};
use crate::site::{Chance, Conduct, Site, below, permille, pick};
use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;
use vespiary_engine::port::sim::{Faults, Random};
use vespiary_engine::{Framing, Publish};

/// Turns in which a healed world must come to rest.
const HEALING_TURNS_MAX: usize = 20_000;

/// A healed world in which nothing happened for so long is at rest: longer than any nap, and than
/// accepting pauses.
const CALM_MILLISECONDS: u64 = 250;

/// One seed's run.
pub struct Run {
    bench: Bench,
    chance: Chance,
    faults: Faults,
    sites: Vec<Site>,
    actors: Vec<Actor>,
    clients: Vec<Client>,
    bounds: Bounds,
    is_told: bool,
    told: usize,
}

fn faults(random: &mut Random) -> Faults {
    let mut faults = match random.below(4) {
        0 => Faults::none(),
        1 | 2 => Faults::lossless(),
        _ => Faults::harsh(),
    };
    let windows = [256, 4_096, 65_536];
    faults.window_bytes = windows[random.below(3) as usize];
    faults.buffers = [2, 8, 64][random.below(3) as usize];
    faults.buffer_bytes = [64, 1_024, 16_384][random.below(3) as usize];
    if random.chance(300) {
        faults.at_once_permille = 900;
    }
    if random.chance(300) {
        // The process itself is stopped now and then, for longer than most deadlines here.
        faults.stop_permille = 10;
        faults.stop_microseconds_max = [1_000, 50_000, 5_000_000][random.below(3) as usize];
    }
    faults
}

impl Run {
    /// The world of a seed; `is_told` prints what happens in it.
    pub fn new(seed: u64, is_told: bool) -> Self {
        let mut random = Random::new(seed);
        let faults = faults(&mut random);
        let driver = Driver::Simulated(seed, faults.clone());
        let bench = Bench::new(&driver).expect("a simulation");
        let chance: Chance = Rc::new(RefCell::new(random));
        let count = 1 + below(&chance, 3) as usize;
        let sites: Vec<Site> = (0..count).map(|_| Site::new(&bench, &chance)).collect();
        let run = Self {
            bench,
            chance,
            faults,
            sites,
            actors: Vec::new(),
            clients: Vec::new(),
            bounds: Bounds::default(),
            is_told,
            told: 0,
        };
        run.say(|| format!("seed {seed}: {:#?}", run.faults));
        for site in &run.sites {
            run.say(|| {
                format!(
                    "site {}: {:?} {:#?}",
                    site.place.address, site.conduct, site.options
                )
            });
        }
        run
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.is_told {
            println!("{:>9} ms  {}", self.bench.engine.now_ms(), text());
        }
    }

    fn print_new_events(&mut self) {
        if self.is_told {
            let log = self.bench.host().log_from(self.told);
            self.told += log.len();
            for told in log {
                self.say(|| format!("{told:?}"));
            }
        }
    }

    /// Run it. What comes back is the same for the same seed.
    pub fn run(mut self) -> u64 {
        let turns = 200 + below(&self.chance, 1_500);
        let peers = 1 + below(&self.chance, 25) as usize;
        for turn in 0..turns {
            if self.actors.len() + self.clients.len() < peers
                && permille(&self.chance, (4_000 * peers as u64 / turns).min(900) as u16)
            {
                self.come(turn);
            }
            self.turn(false);
        }
        if permille(&self.chance, 100) {
            self.say(|| "the engine is shut down in the middle".to_owned());
            return self.end(false);
        }
        self.say(|| "the world heals".to_owned());
        self.heal();
        for connection in self.bench.engine.all_connections() {
            self.say(|| {
                format!(
                    "{:?} {:?} in {} out {}, {} queued, {} held, paused {}, above {}",
                    connection.token(),
                    connection.state(),
                    connection.traffic()[0],
                    connection.traffic()[1],
                    connection.queued_bytes(),
                    connection.buffer_bytes(),
                    connection.is_paused(u8::MAX),
                    connection.is_above_high(),
                )
            });
        }
        self.check_talk();
        self.check_vanished();
        let goes_first = permille(&self.chance, 500);
        self.end(goes_first)
    }

    /// Somebody connects.
    fn come(&mut self, turn: u64) {
        let number = self.actors.len() + self.clients.len();
        let index = below(&self.chance, self.sites.len() as u64) as usize;
        let site = &self.sites[index];
        if permille(&self.chance, 200) {
            self.say(|| format!("client {number} connects to site {index}"));
            self.clients
                .extend(Client::connect(&self.bench, index, site, &self.chance));
            return;
        }
        let peer = self.bench.connect(&site.place);
        let actor = Actor::new(number, index, peer, &site.options, &self.chance);
        self.say(|| format!("turn {turn}: {}", actor.describe()));
        self.actors.push(actor);
    }

    fn turn(&mut self, healed: bool) {
        for actor in &mut self.actors {
            if actor.is_here() && (healed || permille(&self.chance, 300)) {
                actor.act(&self.chance, healed);
            }
        }
        if !healed && permille(&self.chance, 10) {
            self.operate();
        }
        let microseconds = pick(&self.chance, &[0, 0, 10, 200, 1_000, 10_000]);
        self.bench.turn_for(Duration::from_micros(microseconds));
        self.print_new_events();
        self.bounds.check(&self.bench, &self.sites, &self.faults);
    }

    /// What an operator may do.
    fn operate(&self) {
        let site = &self.sites[below(&self.chance, self.sites.len() as u64) as usize];
        match below(&self.chance, 5) {
            // What is lost with it, its peers have no claim to.
            0 if site.conduct == Conduct::Moody && permille(&self.chance, 100) => {
                site.drain(&self.bench, &self.chance);
            }
            0 => site.place.listener.suspend(),
            1 => site.place.listener.unsuspend(),
            2 if self.faults.stop_permille > 0 => {
                // A handler blocks.
                let most = u64::from(self.faults.stop_microseconds_max);
                let world = self.bench.world.as_ref().expect("a simulation");
                world.pass(Duration::from_micros(below(&self.chance, most)));
            }
            _ => drop(self.bench.engine.publish(
                "news",
                vespiary_engine::Kind::Text,
                b"flash",
                Publish::default(),
            )),
        }
    }

    /// Nothing goes wrong any more: whatever can finish does.
    fn heal(&mut self) {
        let world = self.bench.world.clone().expect("a simulation");
        world.set_faults(Faults {
            window_bytes: self.faults.window_bytes,
            ..Faults::none()
        });
        for site in &self.sites {
            site.place.listener.unsuspend();
        }
        let (mut calls, mut since) = (0, self.bench.engine.now_ms());
        for _ in 0..HEALING_TURNS_MAX {
            self.turn(true);
            let now = self.bench.engine.now_ms();
            if calls != self.bench.host().calls() {
                (calls, since) = (self.bench.host().calls(), now);
            } else if now > since + CALM_MILLISECONDS {
                return;
            }
        }
        panic!("a healed world does not come to rest");
    }

    /// A peer that has vanished is noticed where pings or deadlines look for it, whether or not its
    /// connection is read.
    fn check_vanished(&mut self) {
        if !self.actors.iter().any(Actor::has_vanished) {
            return;
        }
        let sites = self.sites.iter();
        let deadlines = sites.map(|site| &site.options.deadlines);
        let longest = deadlines.filter_map(|it| Some(it.ping_interval? + it.ping_timeout?));
        // A connection that is not read is checked each second.
        let wait = longest.max().unwrap_or(0) + 2_000;
        let end = self.bench.engine.now_ms() + wait;
        while self.bench.engine.now_ms() < end {
            self.bench.turn_for(Duration::from_millis(100));
            // A queue that was empty in between does not stand still.
            self.bounds.check(&self.bench, &self.sites, &self.faults);
        }
        for connection in self.bench.engine.all_connections() {
            let options = connection.endpoint().options();
            let deadlines = &options.deadlines;
            let is_pinged = options.framing == Framing::WebSocket
                && deadlines.ping_interval.is_some()
                && deadlines.ping_timeout.is_some();
            let Some(address) = connection.peer_address() else {
                continue;
            };
            let address = address.to_string();
            let mut actors = self.actors.iter();
            let has_vanished = actors.any(|it| it.has_vanished() && it.address == address);
            let is_noticed = !has_vanished || !is_pinged || !connection.is_open();
            assert!(is_noticed, "{address} has vanished, and is not noticed");
        }
    }

    /// What was said came back, unless something excuses it.
    fn check_talk(&self) {
        for actor in &self.actors {
            let site = &self.sites[actor.site];
            match site.conduct {
                Conduct::Echo => actor.check_echo(),
                Conduct::Publish => actor.check_news(),
                Conduct::Moody => {}
            }
            let is_owed = site.conduct == Conduct::Echo
                && matches!(actor.manners, Manners::Good | Manners::Finishing)
                && self.faults.reset_permille == 0;
            if is_owed && !actor.is_complete() {
                let ledger = site.ledger.borrow();
                let text = actor.describe();
                assert!(
                    self.is_excused(actor, site),
                    "{text}; the ledger has {ledger:?}"
                );
            }
        }
        for client in &self.clients {
            let site = &self.sites[client.site];
            let is_owed = site.conduct == Conduct::Echo && self.faults.reset_permille == 0;
            if is_owed && !client.is_complete() {
                let talk = client.talk.borrow();
                assert!(
                    talk.reason.is_some(),
                    "a client of site {} waits",
                    client.site
                );
            }
        }
    }

    /// Whether a peer that did not get everything was refused, or missed a deadline.
    fn is_excused(&self, actor: &Actor, site: &Site) -> bool {
        if actor.was_refused() {
            return true;
        }
        let ledger = site.ledger.borrow();
        let mut entries = ledger.values();
        match entries
            .find(|(address, _)| *address == actor.address)
            .map(|it| &it.1)
        {
            // A limit refused it before it opened, or the handshake's deadline.
            None => site
                .place
                .counters()
                .refused
                .borrow()
                .values()
                .any(|count| *count > 0),
            Some(None) => false,
            Some(Some(reason)) => {
                let limits = site.place.counters().limits.borrow();
                let is_missed = limits.keys().any(|limit| limit.is_deadline());
                let is_lost = reason.text.contains("lost") && is_missed;
                let is_deadline = reason.text.contains("_seconds") || is_lost;
                let is_flood = reason.text.contains("pings");
                self.say(|| format!("{} is excused: {reason}", actor.address));
                is_deadline || is_flood
            }
        }
    }

    /// Everybody leaves, or the engine is shut down at once; nothing may be left.
    fn end(mut self, goes_first: bool) -> u64 {
        if goes_first {
            for actor in &mut self.actors {
                actor.leave();
            }
            for _ in 0..HEALING_TURNS_MAX {
                if self.bench.engine.connection_count() == 0 {
                    break;
                }
                self.turn(true);
            }
        }
        self.say(|| "the engine is shut down".to_owned());
        self.bench.engine.shut_down(10_000).expect("a turn");
        self.print_new_events();
        self.check_counters();
        let mut digest = DefaultHasher::new();
        format!("{:?}", self.bench.host().log()).hash(&mut digest);
        self.bench.engine.now_ms().hash(&mut digest);
        self.bench.host().calls().hash(&mut digest);
        // Timers of the host's are the host's to cancel; here they are let out.
        while self.bench.engine.timer_count() > 0 {
            self.bench.turn_for(Duration::from_millis(100));
        }
        let Self {
            bench,
            sites,
            clients,
            actors,
            ..
        } = self;
        drop((sites, clients, actors));
        bench.end();
        digest.finish()
    }

    fn check_counters(&self) {
        let servers = self.sites.iter().map(|site| site.place.endpoint());
        let mut opened = 0;
        for endpoint in servers.chain(self.clients.iter().map(|client| &client.endpoint)) {
            let counters = &endpoint.counters;
            let refused: u64 = counters.refused.borrow().values().sum();
            let told = counters.opened.get() + refused;
            assert_eq!(counters.accepted.get(), told, "accepted = opened + refused");
            assert_eq!(
                counters.opened.get(),
                counters.closed.get(),
                "opened = closed"
            );
            assert!(counters.broken.get() <= counters.closed.get());
            assert_eq!((endpoint.open(), endpoint.handshaking()), (0, 0));
            opened += counters.opened.get();
        }
        let log = self.bench.host();
        let is_opened = |told: &crate::kit::Told| matches!(told, crate::kit::Told::Opened(_));
        assert_eq!(
            opened,
            log.count(is_opened) as u64,
            "the host was notified of each"
        );
    }
}
