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

/// In the place of a register: the frame has no caller, as that of a thread's first function.
const OUTERMOST: u16 = u16::MAX;

/// How a plain frame is left: it ends `offset` bytes above a register, and each register of
/// [`SAVED`] lies `8 * place` bytes above that end, or is unchanged where the place is 0.
#[derive(Clone, Copy)]
pub(crate) struct FrameRule {
    base: u16,
    offset: i32,
    /// Places as bytes, the first the lowest of the first word.
    places: [u64; 2],
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
    let places = [low.load(Ordering::Acquire), high.load(Ordering::Acquire)];
    if kept.key.load(Ordering::Relaxed) != key {
        return None; // Another thread writes.
    }
    Some(FrameRule {
        base: (end >> 32) as u16,
        offset: end as i32,
        places,
    })
}

/// Keeps the rule of the frame that is at an address, if it is plain.
pub(crate) fn keep<S: UnwindContextStorage<usize>>(address: u64, row: &UnwindTableRow<usize, S>) {
    if let Some(rule) = FrameRule::of(row) {
        rule.keep(address);
    }
}

/// Keeps that the frame that is at an address has no caller.
pub(crate) fn keep_outermost(address: u64) {
    let rule = FrameRule {
        base: OUTERMOST,
        offset: 0,
        places: [0; 2],
    };
    rule.keep(address);
}

impl FrameRule {
    fn keep(&self, address: u64) {
        let key = key_of(address);
        let kept = slot(key);
        kept.key.store(0, Ordering::Release);
        let end = u64::from(self.base) << 32 | u64::from(self.offset.cast_unsigned());
        kept.end.store(end, Ordering::Release);
        for (slot, places) in kept.places.iter().zip(self.places) {
            slot.store(places, Ordering::Release);
        }
        kept.key.store(key, Ordering::Release);
    }

    /// A description's row as a rule; none where it is not plain.
    fn of<S: UnwindContextStorage<usize>>(row: &UnwindTableRow<usize, S>) -> Option<Self> {
        let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else {
            return None;
        };
        let mut rule = Self {
            base: register.0,
            offset: i32::try_from(offset).ok()?,
            places: [0; 2],
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
                    let place = u64::from(i8::try_from(offset / 8).ok()?.cast_unsigned());
                    rule.places[position / 8] |= place << (position % 8 * 8);
                }
                _ => return None,
            }
        }
        let has_return = cfg!(target_arch = "aarch64")
            || (0..SAVED.len()).any(|number| SAVED[number] == RETURN && rule.place(number) != 0);
        has_return.then_some(rule)
    }

    /// The place of a register of [`SAVED`].
    #[inline]
    fn place(&self, number: usize) -> i8 {
        ((self.places[number / 8] >> (number % 8 * 8)) as u8).cast_signed()
    }

    /// Makes a frame's registers those of its caller; nothing where the stack ends, and then they
    /// are of no use.
    #[inline]
    pub(crate) fn apply(&self, registers: &mut Registers, stack: &mut Stack) -> Option<()> {
        // That is none of the registers where the frame is the outermost.
        let base = *registers.get(usize::from(self.base))?;
        let end = base.checked_add_signed(i64::from(self.offset))?;
        if end <= registers[STACK_POINTER] {
            return None;
        }
        registers[STACK_POINTER] = end;
        for (number, register) in SAVED.into_iter().enumerate() {
            let place = self.place(number);
            if place != 0 {
                let at = end.wrapping_add_signed(i64::from(place) * 8);
                registers[register] = stack.read(at)?;
            }
        }
        Some(())
    }
}
