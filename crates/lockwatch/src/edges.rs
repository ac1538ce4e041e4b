//! Orders: which lock was taken while which others were held.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::held;
use crate::region::{EDGES_MAX, GATES_MAX, Lost, Region, Thread};
use crate::{stacks, threads};

const SET: usize = EDGES_MAX * 4;
const PAIRS: usize = EDGES_MAX * 2;
/// The same two locks in the same order are recorded this often: by several threads, with several
/// sets of other locks. Enough for what the cycles' filters look at.
const A_PAIR_MAX: u32 = 48;

/// Orders that are recorded, as hashes.
static RECORDED: [AtomicU64; SET] = [const { AtomicU64::new(0) }; SET];
/// How often each pair is.
static COUNTS: [AtomicU32; PAIRS] = [const { AtomicU32::new(0) }; PAIRS];

#[inline]
fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(31)
}

/// The thread is about to wait for `to` while it holds what it holds.
#[inline]
pub(crate) fn record(region: &Region, thread: &Thread, to: u32, is_shared: bool, site: u64) {
    let entries = held::entries(thread);
    if entries.is_empty() {
        return;
    }
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
        return;
    }
    recent.store(signature, Ordering::Relaxed);
    record_all(region, thread, to, is_shared, site);
}

#[cold]
fn record_all(region: &Region, thread: &Thread, to: u32, is_shared: bool, site: u64) {
    let mut stack = None;
    for (position, entry) in held::entries(thread).iter().enumerate() {
        let from = entry.lock.load(Ordering::Relaxed);
        if entry.depth.load(Ordering::Relaxed) == 0 || from == to {
            continue;
        }
        let mut gates = [0; GATES_MAX];
        let mut gate_count = 0;
        for (other, gate) in held::entries(thread).iter().enumerate() {
            let is_gate = other != position
                && gate.depth.load(Ordering::Relaxed) > 0
                && gate.mode.load(Ordering::Relaxed) == 0;
            if is_gate && gate_count < GATES_MAX {
                gates[gate_count] = gate.lock.load(Ordering::Relaxed);
                gate_count += 1;
            }
        }
        gates[..gate_count].sort_unstable();
        let modes = entry.mode.load(Ordering::Relaxed) | u32::from(is_shared) << 1;
        if !is_new(region, thread, (from, to, modes), &gates[..gate_count]) {
            continue;
        }
        let Some(number) = region.claim(&region.header.edges, EDGES_MAX, Lost::Edges) else {
            return;
        };
        let stack = *stack.get_or_insert_with(|| stacks::capture(region, site));
        let edge = &region.edges[number];
        let thread_number = threads::number(region, thread);
        edge.thread.store(thread_number, Ordering::Relaxed);
        let segment = thread.segment.load(Ordering::Relaxed);
        edge.segment.store(segment, Ordering::Relaxed);
        edge.from.store(from, Ordering::Relaxed);
        edge.to.store(to, Ordering::Relaxed);
        edge.modes.store(modes, Ordering::Relaxed);
        edge.stack.store(stack, Ordering::Relaxed);
        let from_site = entry.site.load(Ordering::Relaxed);
        edge.from_site.store(from_site, Ordering::Relaxed);
        edge.to_site.store(site, Ordering::Relaxed);
        for (slot, gate) in edge.gates.iter().zip(&gates[..gate_count]) {
            slot.store(*gate, Ordering::Relaxed);
        }
        edge.gate_count.store(gate_count as u32, Ordering::Relaxed);
        edge.ready.store(1, Ordering::Release);
    }
}

/// Whether an order has not been recorded yet, and is wanted still. From now on it is recorded.
fn is_new(region: &Region, thread: &Thread, order: (u32, u32, u32), gates: &[u32]) -> bool {
    let (from, to, modes) = order;
    let pair = mix(u64::from(from) << 32 | u64::from(to), u64::from(modes));
    let mut key = mix(pair, u64::from(threads::number(region, thread)));
    key = mix(key, u64::from(thread.segment.load(Ordering::Relaxed)));
    for gate in gates {
        key = mix(key, u64::from(*gate));
    }
    key |= 1;
    let mut slot = (key >> (64 - SET.trailing_zeros())) as usize;
    for _ in 0..SET {
        match RECORDED[slot].compare_exchange(0, key, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                // Two pairs that share a place share its count; that only records less.
                let count = &COUNTS[(pair >> (64 - PAIRS.trailing_zeros())) as usize];
                return count.fetch_add(1, Ordering::Relaxed) < A_PAIR_MAX;
            }
            Err(there) if there == key => return false,
            Err(_) => slot = (slot + 1) % SET,
        }
    }
    region.lose(Lost::Edges);
    false
}

/// In a new child nothing is recorded yet.
pub(crate) fn forget() {
    for slot in &RECORDED {
        if slot.load(Ordering::Relaxed) != 0 {
            slot.store(0, Ordering::Relaxed);
        }
    }
    for count in &COUNTS {
        if count.load(Ordering::Relaxed) != 0 {
            count.store(0, Ordering::Relaxed);
        }
    }
}
