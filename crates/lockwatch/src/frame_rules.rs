//! Rules for unwinding frames that were seen before, so that the description of a place is read
//! only once.
//!
//! To find and evaluate a frame's description takes thousands of instructions, and a program that
//! creates locks for each request has the same stacks captured again and again. Nearly all frames
//! are simple: the frame ends at a register plus an offset, and the registers of the caller are at
//! fixed places below its end. Such a rule fits into three words. Other frames are evaluated each
//! time. When a library is unloaded, other code may be loaded at its addresses. Then all rules
//! become invalid, because each contains a number that is increased. Even a wrong rule could not
//! make the unwinder read outside the stack that is in use.

use std::sync::atomic::{AtomicU64, Ordering};

use gimli::{CfaRule, RegisterRule, UnwindContextStorage, UnwindTableRow};

use crate::recorded::mix;
use crate::unwind::machine::{COUNT, RETURN, SAVED, STACK_POINTER};
use crate::unwind::{Registers, Stack};

const SLOTS: usize = 1 << 13;
const ADDRESS_BITS: u32 = 48;
/// Registers that fit into a rule's last two words, a byte each.
const PLACES: usize = 16;
const _: () = assert!(SAVED.len() <= PLACES);

/// How a plain frame is left: it ends `offset` bytes above a register, and each register of
/// [`SAVED`] lies `8 * place` bytes above that end, or is unchanged where the place is 0.
#[derive(Clone, Copy)]
pub(crate) struct FrameRule {
    base: u16,
    offset: i32,
    places: [i8; PLACES],
}

struct Kept {
    /// The address and, above, the number of libraries that were unloaded; 0 while it is written.
    key: AtomicU64,
    end: AtomicU64,
    places: [AtomicU64; 2],
}

static KEPT: [Kept; SLOTS] = [const {
    Kept {
        key: AtomicU64::new(0),
        end: AtomicU64::new(0),
        places: [const { AtomicU64::new(0) }; 2],
    }
}; SLOTS];

static UNLOADED: AtomicU64 = AtomicU64::new(0);

/// A library was unloaded: others may come to its addresses.
pub(crate) fn forget() {
    UNLOADED.fetch_add(1, Ordering::AcqRel);
}

fn key_of(address: u64) -> u64 {
    address ^ UNLOADED.load(Ordering::Acquire) << ADDRESS_BITS
}

fn slot(key: u64) -> &'static Kept {
    &KEPT[(mix(0, key) >> (64 - SLOTS.trailing_zeros())) as usize]
}

/// The rule of the frame that is at an address, if it was met before.
pub(crate) fn find(address: u64) -> Option<FrameRule> {
    let key = key_of(address);
    let kept = slot(key);
    if kept.key.load(Ordering::Acquire) != key {
        return None;
    }
    let end = kept.end.load(Ordering::Acquire);
    let [low, high] = &kept.places;
    let (low, high) = (low.load(Ordering::Acquire), high.load(Ordering::Acquire));
    if kept.key.load(Ordering::Relaxed) != key {
        return None; // Another thread writes.
    }
    let mut places = [0; PLACES];
    for (place, byte) in places
        .iter_mut()
        .zip(low.to_le_bytes().into_iter().chain(high.to_le_bytes()))
    {
        *place = byte.cast_signed();
    }
    Some(FrameRule {
        base: (end >> 32) as u16,
        offset: end as i32,
        places,
    })
}

/// Keeps the rule of the frame that is at an address, if it is plain.
pub(crate) fn keep<S: UnwindContextStorage<usize>>(address: u64, row: &UnwindTableRow<usize, S>) {
    let Some(rule) = FrameRule::of(row) else {
        return;
    };
    let key = key_of(address);
    let kept = slot(key);
    let bytes = rule.places.map(i8::cast_unsigned);
    let half = |first: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[first..first + 8]);
        u64::from_le_bytes(word)
    };
    kept.key.store(0, Ordering::Release);
    let end = u64::from(rule.base) << 32 | u64::from(rule.offset.cast_unsigned());
    kept.end.store(end, Ordering::Release);
    kept.places[0].store(half(0), Ordering::Release);
    kept.places[1].store(half(8), Ordering::Release);
    kept.key.store(key, Ordering::Release);
}

impl FrameRule {
    /// A description's row as a rule; none where it is not plain.
    fn of<S: UnwindContextStorage<usize>>(row: &UnwindTableRow<usize, S>) -> Option<Self> {
        let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else {
            return None;
        };
        let mut rule = Self {
            base: register.0,
            offset: i32::try_from(offset).ok()?,
            places: [0; PLACES],
        };
        if usize::from(rule.base) >= COUNT {
            return None;
        }
        for (register, how) in row.registers() {
            let number = usize::from(register.0);
            if number >= COUNT {
                continue;
            }
            match how {
                RegisterRule::SameValue => {}
                RegisterRule::Offset(offset) if offset % 8 == 0 && *offset != 0 => {
                    let position = SAVED.iter().position(|saved| *saved == number)?;
                    rule.places[position] = i8::try_from(offset / 8).ok()?;
                }
                _ => return None,
            }
        }
        let has_return = cfg!(target_arch = "aarch64")
            || SAVED
                .iter()
                .zip(rule.places)
                .any(|(saved, place)| *saved == RETURN && place != 0);
        has_return.then_some(rule)
    }

    /// The caller's registers; none where the stack ends.
    pub(crate) fn apply(&self, registers: &Registers, stack: &mut Stack) -> Option<Registers> {
        let base = registers[usize::from(self.base)];
        let end = base.checked_add_signed(i64::from(self.offset))?;
        if end <= registers[STACK_POINTER] {
            return None;
        }
        let mut callers = *registers;
        callers[STACK_POINTER] = end;
        for (register, place) in SAVED.iter().zip(self.places) {
            if place != 0 {
                let at = end.checked_add_signed(i64::from(place) * 8)?;
                callers[*register] = stack.read(at)?;
            }
        }
        Some(callers)
    }
}
