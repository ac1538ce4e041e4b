//! Orders: which lock was taken while which others were held.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::interpreter::is_gil;
use crate::layout::{
    EDGES_MAX, FROM_SHARED, GATES_MAX, HAS_ORDER, HELD_MAX, Held, Kind, Lost, PRIVATE, TO_SHARED,
    Thread,
};
use crate::recorded::{Recorded, mix, wipe};
use crate::region::Region;
use crate::unseen::{self, Use};
use crate::{births, clock, clocks, held, locks, log, stacks, threads};

const COUNTS: usize = EDGES_MAX * 2;
/// How often the same two locks in the same order are recorded: from several threads, with
/// different other locks, or separated by the creation and joining of threads.
const A_PAIR_MAX: u32 = 256;
/// How often from one thread, so that one thread does not use up the limit for all.
const A_THREAD_MAX: u32 = 64;

/// Orders with the GIL must leave this many entries for all others.
const GIL_MAX: u32 = EDGES_MAX as u32 / 4;
static GIL_COUNT: AtomicU32 = AtomicU32::new(0);

static RECORDED: Recorded<{ EDGES_MAX * 4 }> = Recorded::new();
/// How often each pair is, and each pair of one thread. What shares a place shares its count; that
/// only records less.
static PAIR_COUNTS: [AtomicU32; COUNTS] = [const { AtomicU32::new(0) }; COUNTS];
static THREAD_COUNTS: [AtomicU32; COUNTS] = [const { AtomicU32::new(0) }; COUNTS];

/// Hashes of orders that any thread has seen lately: a thread's own list is too small for a program
/// with thousands of orders. A hash may be in any slot of its set, which is half a cache line: with
/// one slot for each, a third of memcached's 27,000 orders displaced each other all the time.
static MET: [MetSet; MET_SETS] = [const { MetSet([const { AtomicU64::new(0) }; WAYS]) }; MET_SETS];
const MET_SETS: usize = 1 << 15;
const WAYS: usize = 4;

#[repr(align(32))]
struct MetSet([AtomicU64; WAYS]);

impl MetSet {
    fn of(hash: u64) -> &'static Self {
        &MET[(hash >> (64 - MET_SETS.trailing_zeros())) as usize]
    }

    /// Puts a hash in; whether it was not there. Nothing is written if it was: other threads read
    /// the same cache line.
    #[inline]
    fn put(&self, hash: u64) -> bool {
        for slot in &self.0 {
            let there = slot.load(Ordering::Relaxed);
            if there == hash {
                return false;
            }
            if there == 0 {
                slot.store(hash, Ordering::Relaxed);
                return true;
            }
        }
        self.0[(hash >> 8) as usize % WAYS].store(hash, Ordering::Relaxed);
        true
    }

    fn remove(&self, hash: u64) {
        for slot in &self.0 {
            if slot.load(Ordering::Relaxed) == hash {
                slot.store(0, Ordering::Relaxed);
            }
        }
    }
}

/// The thread is about to wait for `to`, while it holds other locks.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is a part of nearly every operation"
)]
pub(crate) fn record(region: &Region, thread: &Thread, to: u32, is_shared: bool, site: u64) {
    let entries = held::entries(thread);
    if entries.len() >= HELD_MAX {
        // Further held locks are not recorded, so a further order adds nothing.
        return;
    }
    if !entries.is_empty() && is_new_lately(region, thread, entries.iter(), to, is_shared) {
        let entries = entries.iter().map(|entry| (entry, true));
        record_all(region, thread, &entries, (to, is_shared), site);
    }
}

/// The task is about to wait for `to`, while it holds what it holds and what it has taken as its
/// thread, of which a lock of threads has orders of its own.
///
/// With a time limit that was set when it held `limit` locks, it gives those back in time: they
/// make no order, unless it is the thread that will wait.
pub(crate) fn record_of_task(
    region: &Region,
    task: &Thread,
    carrier: &Thread,
    to: u32,
    limit: Option<usize>,
) {
    let number = threads::number(region, task) + 1;
    let is_of_task = locks::is_of_tasks(region, to);
    let free = limit.filter(|_| is_of_task).unwrap_or(0);
    let own = held::entries(task).iter().enumerate();
    let own = own.map(|(position, entry)| (entry, position >= free));
    let taken = held::entries(carrier)
        .iter()
        .filter(|entry| entry.task.load(Ordering::Relaxed) == number)
        .map(|entry| (entry, is_of_task && limit.is_none()));
    let entries = own.chain(taken);
    // What makes no order now may make one the next time, without the limit.
    let from = entries.clone().filter(|(_, is_from)| *is_from);
    if from.clone().next().is_some()
        && is_new_lately(region, task, from.map(|(entry, _)| entry), to, false)
    {
        record_all(region, task, &entries, (to, false), 0);
    }
}

/// Whether this is new: the thread has not lately wanted `to` while it held exactly these locks.
#[inline]
fn is_new_lately<'a>(
    region: &Region,
    thread: &Thread,
    entries: impl Iterator<Item = &'a Held>,
    to: u32,
    is_shared: bool,
) -> bool {
    let segment = thread.segment.load(Ordering::Relaxed);
    let mut signature = mix(
        u64::from(segment),
        u64::from(to) << 1 | u64::from(is_shared),
    );
    for entry in entries {
        let lock = u64::from(entry.lock.load(Ordering::Relaxed));
        signature = mix(
            signature,
            lock << 1 | u64::from(entry.mode.load(Ordering::Relaxed)),
        );
    }
    signature |= 1;
    let recent = &thread.recent[(signature >> 58) as usize];
    if recent.load(Ordering::Relaxed) == signature {
        return false;
    }
    recent.store(signature, Ordering::Relaxed);
    let signature = of_thread(region, thread, signature);
    MetSet::of(signature).put(signature)
}

/// Records an order from each of the entries that are marked; all of them are gates.
#[cold]
fn record_all<'a>(
    region: &Region,
    thread: &Thread,
    entries: &(impl Iterator<Item = (&'a Held, bool)> + Clone),
    (to, is_shared): (u32, bool),
    site: u64,
) {
    let mut stack = None;
    let is_private = births::is_private(region, thread, to);
    // A thread that waits for a Python lock has released the GIL: it does not hold it while it
    // waits, and other threads run.
    let is_python = locks::is_python(region, to);
    let is_given_away = |lock: u32| is_python && is_gil(lock);
    for (position, (entry, is_from)) in entries.clone().enumerate() {
        let from = entry.lock.load(Ordering::Relaxed);
        let is_held = entry.depth.load(Ordering::Relaxed) > 0;
        if !is_from || !is_held || from == to || is_given_away(from) {
            continue;
        }
        note_stream(region, from, to);
        let mut gates = [0; GATES_MAX];
        let mut gate_count = 0;
        for (other, (gate, _)) in entries.clone().enumerate() {
            let is_gate = other != position
                && !is_given_away(gate.lock.load(Ordering::Relaxed))
                && gate.depth.load(Ordering::Relaxed) > 0
                && gate.mode.load(Ordering::Relaxed) == 0;
            if is_gate && gate_count < GATES_MAX {
                gates[gate_count] = gate.lock.load(Ordering::Relaxed);
                gate_count += 1;
            }
        }
        gates[..gate_count].sort_unstable();
        let is_private = is_private || births::is_private(region, thread, from);
        let is_from_shared = entry.mode.load(Ordering::Relaxed) != 0;
        let bit = |is_set, bit| if is_set { bit } else { 0 };
        let modes =
            bit(is_from_shared, FROM_SHARED) | bit(is_shared, TO_SHARED) | bit(is_private, PRIVATE);
        if is_private {
            // When other threads may know the lock, the same order is recorded again.
            forget_lately(region, thread);
        }
        if !is_new(region, thread, (from, to, modes), &gates[..gate_count]) {
            continue;
        }
        let Some(number) = region.claim(&region.header.edges, EDGES_MAX, Lost::Edges) else {
            return;
        };
        let stack = *stack.get_or_insert_with(|| stacks::capture(region, site));
        let edge = &region.edges[number];
        edge.thread
            .store(threads::keep(region, thread), Ordering::Relaxed);
        let segment = thread.segment.load(Ordering::Relaxed);
        edge.segment.store(segment, Ordering::Relaxed);
        locks::keep(region, from);
        locks::keep(region, to);
        edge.from.store(from, Ordering::Relaxed);
        edge.to.store(to, Ordering::Relaxed);
        edge.modes.store(modes, Ordering::Relaxed);
        edge.stack.store(stack, Ordering::Relaxed);
        let from_site = entry.site.load(Ordering::Relaxed);
        edge.from_site.store(from_site, Ordering::Relaxed);
        edge.from_stack
            .store(log::stack_of(entry), Ordering::Relaxed);
        edge.to_site.store(site, Ordering::Relaxed);
        edge.time.store(clock::now(), Ordering::Relaxed);
        clocks::stamp(region, thread, edge);
        for (slot, gate) in edge.gates.iter().zip(&gates[..gate_count]) {
            locks::keep(region, *gate);
            slot.store(*gate, Ordering::Relaxed);
        }
        edge.gate_count.store(gate_count as u32, Ordering::Relaxed);
        edge.ready.store(1, Ordering::Release);
        thread.marks.fetch_or(HAS_ORDER, Ordering::Relaxed);
    }
}

/// Functions that write to a stream take its lock too, and that is not seen.
fn note_stream(region: &Region, from: u32, to: u32) {
    let is_stream = |lock: u32| {
        let kind = locks::lock(region, lock).kind.load(Ordering::Relaxed);
        kind == Kind::Stream as u32
    };
    if is_stream(from) && !is_gil(to) || is_stream(to) && !is_gil(from) {
        unseen::note(Use::Stream);
    }
}

/// The order that the thread wanted last counts as new the next time.
#[cold]
fn forget_lately(region: &Region, thread: &Thread) {
    for recent in &thread.recent {
        let signature = recent.swap(0, Ordering::Relaxed);
        if signature != 0 {
            let signature = of_thread(region, thread, signature);
            MetSet::of(signature).remove(signature);
        }
    }
}

fn of_thread(region: &Region, thread: &Thread, signature: u64) -> u64 {
    mix(signature, u64::from(threads::number(region, thread))) | 1
}

/// Whether an order is not recorded yet, and below the limits. From now on it counts as recorded.
fn is_new(region: &Region, thread: &Thread, order: (u32, u32, u32), gates: &[u32]) -> bool {
    let (from, to, modes) = order;
    let pair = mix(u64::from(from) << 32 | u64::from(to), u64::from(modes));
    let of_thread = mix(pair, u64::from(threads::number(region, thread)));
    let has_gil = is_gil(from) || is_gil(to);
    if has_gil && is_enough_of_the_gil(pair, of_thread) {
        return false;
    }
    let mut key = mix(of_thread, u64::from(thread.segment.load(Ordering::Relaxed)));
    for gate in gates {
        key = mix(key, u64::from(*gate));
    }
    if count(&THREAD_COUNTS, of_thread).load(Ordering::Relaxed) >= A_THREAD_MAX {
        region.lose(Lost::Repeats);
        return false;
    }
    match RECORDED.put(key) {
        Some(true) => {
            let is_wanted = is_below(&THREAD_COUNTS, of_thread, A_THREAD_MAX)
                && is_below(&PAIR_COUNTS, pair, A_PAIR_MAX);
            if has_gil && is_wanted && GIL_COUNT.fetch_add(1, Ordering::Relaxed) >= GIL_MAX {
                region.lose(Lost::Edges);
                return false;
            }
            if !is_wanted {
                region.lose(Lost::Repeats);
            }
            is_wanted
        }
        Some(false) => false,
        None => {
            region.lose(Lost::Edges);
            false
        }
    }
}

fn count(counts: &[AtomicU32; COUNTS], hash: u64) -> &AtomicU32 {
    &counts[(hash >> (64 - COUNTS.trailing_zeros())) as usize]
}

fn is_below(counts: &[AtomicU32; COUNTS], hash: u64, most: u32) -> bool {
    count(counts, hash).fetch_add(1, Ordering::Relaxed) < most
}

/// The GIL is held while nearly all other locks are taken. If an order with it reaches the limit,
/// this is not reported.
fn is_enough_of_the_gil(pair: u64, of_thread: u64) -> bool {
    count(&THREAD_COUNTS, of_thread).load(Ordering::Relaxed) >= A_THREAD_MAX
        || count(&PAIR_COUNTS, pair).load(Ordering::Relaxed) >= A_PAIR_MAX
}

/// In a new child nothing is recorded yet.
pub(crate) fn forget() {
    RECORDED.forget();
    GIL_COUNT.store(0, Ordering::Relaxed);
    // SAFETY: statics of atomics that are zeroed at first.
    unsafe {
        wipe(&raw const MET);
        wipe(&raw const PAIR_COUNTS);
        wipe(&raw const THREAD_COUNTS);
    }
}
