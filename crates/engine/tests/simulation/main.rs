//! Thousands of random worlds, each from a seed, and what must hold in every one of them.
//!
//! A seed makes a world: what goes wrong in it and how often, endpoints with their framings,
//! limits, deadlines and policies, what their host does, and peers that talk, trickle, stall, lie
//! and leave. The world runs for some thousand turns in virtual time; then everything heals, and
//! what can finish must finish. All the while and at the end it is checked that
//!
//! * what was echoed is what was sent, byte for byte and in order, and all of it where nothing
//!   excuses the loss;
//! * a server writes nothing but whole frames, lines, packets and answers;
//! * no callback runs inside another, and each connection is opened and closed once, in this order;
//! * queues, held bytes and numbers of connections stay within their limits;
//! * deadlines are met within a tick;
//! * counters add up, and nothing is left: no connection, operation, lease, descriptor or timer.
//!
//! A failure names its seed, and one command replays it, with a log of everything that happened:
//!
//! ```sh
//! VESPIARY_SEED=123 cargo test -p vespiary-engine --test simulation -- --nocapture
//! ```
//!
//! `VESPIARY_SEEDS=100000` runs that many seeds instead of the usual number;
//! `VESPIARY_SEEDS=5000..9000` those. What a failing seed finds becomes a scenario with a
//! name in the suite beside this, because a seed makes another world when anything here changes.

#[path = "../kit/mod.rs"]
#[macro_use]
mod kit;

mod actor;
mod bounds;
mod client;
mod run;
mod site;

use run::Run;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How many seeds are run unless the environment says otherwise: what a machine with two cores does
/// in some ten seconds, in a build for tests.
const SEEDS: u64 = 3_000;

fn number(text: &str) -> u64 {
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("{text:?} is not a seed"))
}

/// Run one seed; what it says when it fails.
fn try_seed(seed: u64, is_told: bool) -> Result<u64, String> {
    let ran = catch_unwind(AssertUnwindSafe(|| Run::new(seed, is_told).run()));
    ran.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or(panic.downcast_ref::<&str>().copied())
            .unwrap_or("it panicked")
            .to_owned()
    })
}

fn command(seed: u64) -> String {
    format!("VESPIARY_SEED={seed} cargo test -p vespiary-engine --test simulation -- --nocapture")
}

/// Run the seeds on all processors; the first that fails, and what it says.
fn run_seeds(seeds: Range<u64>) -> Option<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let is_over = AtomicBool::new(false);
    let failure = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    if let Err(text) = try_seed(seed, false) {
                        is_over.store(true, Ordering::Relaxed);
                        failure
                            .lock()
                            .expect("no panic holds it")
                            .get_or_insert((seed, text));
                    }
                }
            });
        }
    });
    failure.into_inner().expect("no panic holds it")
}

#[test]
fn every_seed_keeps_every_promise() {
    if let Ok(seed) = std::env::var("VESPIARY_SEED") {
        let seed = number(&seed);
        if let Err(text) = try_seed(seed, true) {
            panic!("seed {seed}: {text}");
        }
        println!("seed {seed} keeps every promise");
        return;
    }
    let seeds = match std::env::var("VESPIARY_SEEDS") {
        Err(_) => 0..SEEDS,
        Ok(text) => match text.split_once("..") {
            Some((first, end)) => number(first)..number(end),
            None => 0..number(&text),
        },
    };
    let count = seeds.end - seeds.start;
    if let Some((seed, text)) = run_seeds(seeds) {
        panic!("seed {seed}: {text}\nreplay it: {}", command(seed));
    }
    println!("{count} seeds keep every promise");
}

#[test]
fn a_seed_replays_the_same() {
    if std::env::var_os("VESPIARY_SEED").is_some() {
        // Only the one seed is wanted, and only its log.
        return;
    }
    for seed in 0..40 {
        let first = try_seed(seed, false);
        assert_eq!(first, try_seed(seed, false), "seed {seed}");
        assert!(first.is_ok(), "{first:?}\nreplay it: {}", command(seed));
    }
}
