//! Unwinding this thread's stack, within the bounds of the stack that it uses.
//!
//! The unwinder of the C compiler's library reads every address that a frame's description refers
//! to. This works for exceptions, which are thrown where all callers exist. Here the unwinder runs
//! at any moment of any program. The base of a coroutine's stack may not be marked. Greenlets share
//! one stack, so above the first frame of a greenlet there is data of other greenlets, and
//! following it could lead anywhere. So a word is read only if it is in the stack in use
//! ([`Stack`]), each frame must be above the previous one, and the stack of a greenlet ends with
//! the greenlet. If a frame cannot be followed, the captured stack ends there, and the program
//! continues.
//!
//! A frame's description is DWARF's (`.eh_frame`, section 6.4). It is read by gimli without an
//! allocation. Source for the registers' numbers: the processors' ABIs.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, Encoding, EndianSlice, Format, NativeEndian,
    Operation, Register, RegisterRule, UnwindContext, UnwindContextStorage, UnwindExpression,
    UnwindSection, UnwindTableRow,
};

use crate::frame_rules;
use crate::objects::{self, Object};
pub(crate) use crate::readable::Stack;

const FRAMES_MAX: usize = 256;
/// Values on the stack of an expression.
const VALUES_MAX: usize = 16;
const ENCODING: Encoding = Encoding {
    format: Format::Dwarf32,
    version: 4,
    address_size: 8,
};

#[cfg(target_arch = "x86_64")]
pub(crate) mod machine {
    pub(crate) const STACK_POINTER: usize = 7;
    pub(crate) const RETURN: usize = 16;
    pub(crate) const COUNT: usize = 17;
    /// What a function leaves as it was, and where it returns to.
    pub(crate) const SAVED: [usize; 7] = [3, 6, 12, 13, 14, 15, RETURN];

    /// The registers that a function has to leave as they are, and where it is now.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "they are those of the function that asks"
    )]
    pub(super) fn registers() -> [u64; COUNT] {
        let mut found = [0_u64; COUNT];
        // SAFETY: registers are stored into our array.
        unsafe {
            std::arch::asm!(
                "mov [{found} + 24], rbx",
                "mov [{found} + 48], rbp",
                "mov [{found} + 56], rsp",
                "mov [{found} + 96], r12",
                "mov [{found} + 104], r13",
                "mov [{found} + 112], r14",
                "mov [{found} + 120], r15",
                "lea {here}, [rip]",
                "mov [{found} + 128], {here}",
                found = in(reg) found.as_mut_ptr(),
                here = out(reg) _,
                options(nostack, preserves_flags),
            );
        }
        found
    }

    pub(super) fn address(word: u64) -> u64 {
        word
    }
}

#[cfg(target_arch = "aarch64")]
pub(crate) mod machine {
    pub(crate) const STACK_POINTER: usize = 31;
    pub(crate) const RETURN: usize = 30;
    pub(crate) const COUNT: usize = 33;
    /// What a function leaves as it was, and where it returns to.
    pub(crate) const SAVED: [usize; 12] = [19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, RETURN];
    const HERE: usize = 32;

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "they are those of the function that asks"
    )]
    pub(super) fn registers() -> [u64; COUNT] {
        let mut found = [0_u64; COUNT];
        // SAFETY: registers are stored into our array.
        unsafe {
            std::arch::asm!(
                "stp x19, x20, [{found}, #152]",
                "stp x21, x22, [{found}, #168]",
                "stp x23, x24, [{found}, #184]",
                "stp x25, x26, [{found}, #200]",
                "stp x27, x28, [{found}, #216]",
                "stp x29, x30, [{found}, #232]",
                "mov {here}, sp",
                "str {here}, [{found}, #248]",
                "adr {here}, .",
                "str {here}, [{found}, #256]",
                found = in(reg) found.as_mut_ptr(),
                here = out(reg) _,
                options(nostack, preserves_flags),
            );
        }
        found[RETURN] = found[HERE];
        found
    }

    /// A return address without the signature that the processor may have put into it.
    pub(super) fn address(word: u64) -> u64 {
        word & 0x0000_FFFF_FFFF_FFFF
    }
}

use machine::{COUNT, RETURN, STACK_POINTER};

/// A frame's, by DWARF's numbers.
pub(crate) type Registers = [u64; COUNT];

type Slice = EndianSlice<'static, NativeEndian>;

/// Room for the rules of a frame, on the stack: a thread may have 16 KiB of that in all.
struct Rules;

/// Registers that have a rule at the same time: here all of `machine`, there also those of vectors.
const RULES_MAX: usize = if cfg!(target_arch = "x86_64") {
    COUNT
} else {
    40
};

impl UnwindContextStorage<usize> for Rules {
    type Rules = [(Register, RegisterRule<usize>); RULES_MAX];
    type Stack = [UnwindTableRow<usize, Self>; 3];
}

/// A frame: where it is, and its stack pointer.
pub(crate) struct Frame {
    pub(crate) address: u64,
    pub(crate) stack_pointer: u64,
}

/// Visits the frames of this thread from the inside out, the library's own first, until `visit`
/// says that it has seen enough.
#[inline(never)]
pub(crate) fn walk(mut visit: impl FnMut(&Frame) -> bool) {
    let registers = machine::registers();
    let mut walker = Walker {
        stack: Stack::at(registers[STACK_POINTER]),
        registers,
        object: None,
        is_exact: true,
    };
    let mut rules = UnwindContext::new_in();
    for _ in 0..FRAMES_MAX {
        let frame = Frame {
            address: walker.registers[RETURN],
            stack_pointer: walker.registers[STACK_POINTER],
        };
        if !visit(&frame) || walker.step(&mut rules).is_none() {
            return;
        }
    }
}

/// What is known of a caller's register.
enum Saved {
    Is(u64),
    Lost,
}

struct Walker {
    registers: Registers,
    stack: Stack,
    /// That of the last frame: mostly the next one's too.
    object: Option<Object>,
    /// Whether the frame is at its address itself, and not behind a call.
    is_exact: bool,
}

impl Walker {
    /// Continues to the caller; nothing where the stack ends.
    fn step(&mut self, rules: &mut UnwindContext<usize, Rules>) -> Option<()> {
        let at = self.registers[RETURN] - u64::from(!self.is_exact);
        if let Some(rule) = frame_rules::find(at) {
            rule.apply(&mut self.registers, &mut self.stack)?;
            return self.enter(false);
        }
        let object = self.object_at(at)?;
        if object.is_named(b"/_greenlet.") {
            // Greenlets share their thread's stack: above the first frame of one lies what others
            // left.
            return None;
        }
        let description = Description::of(&object)?;
        let (row, is_signal) = description.row(rules, at)?;
        if !is_signal {
            frame_rules::keep(at, row);
        }
        let frame_end = match *row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                self.register(register)?.checked_add_signed(offset)?
            }
            CfaRule::Expression(expression) => self.evaluate(&description, &expression, None)?,
        };
        if !is_signal && frame_end <= self.registers[STACK_POINTER] {
            return None;
        }
        let mut registers = self.registers;
        registers[STACK_POINTER] = frame_end;
        let mut has_return = cfg!(target_arch = "aarch64");
        for (register, rule) in row.registers() {
            let number = usize::from(register.0);
            if number >= COUNT {
                continue;
            }
            match self.apply(&description, rule, *register, frame_end)? {
                Saved::Is(value) => registers[number] = value,
                Saved::Lost if number == RETURN => {
                    if !is_signal {
                        frame_rules::keep_outermost(at);
                    }
                    return None;
                }
                Saved::Lost => registers[number] = 0,
            }
            has_return |= number == RETURN;
        }
        if !has_return {
            return None;
        }
        self.registers = registers;
        self.enter(is_signal)
    }

    /// Continues in a caller, whose registers are there, and which a signal has interrupted or a
    /// call has left.
    fn enter(&mut self, is_signal: bool) -> Option<()> {
        self.registers[RETURN] = machine::address(self.registers[RETURN]);
        if self.registers[RETURN] < 4096 {
            return None;
        }
        if is_signal {
            // What was interrupted may be on another stack.
            self.stack = Stack::at(self.registers[STACK_POINTER]);
        }
        self.is_exact = is_signal;
        Some(())
    }

    #[inline(never)]
    fn object_at(&mut self, address: u64) -> Option<Object> {
        let known = self
            .object
            .filter(|object| (object.start..object.end).contains(&address));
        self.object = known.or_else(|| objects::find(address));
        self.object
    }

    fn register(&self, register: Register) -> Option<u64> {
        self.registers.get(usize::from(register.0)).copied()
    }

    /// A register of the caller.
    fn apply(
        &mut self,
        description: &Description,
        rule: &RegisterRule<usize>,
        register: Register,
        frame_end: u64,
    ) -> Option<Saved> {
        let value = match rule {
            RegisterRule::SameValue => self.register(register)?,
            RegisterRule::Offset(offset) => {
                self.stack.read(frame_end.checked_add_signed(*offset)?)?
            }
            RegisterRule::ValOffset(offset) => frame_end.checked_add_signed(*offset)?,
            RegisterRule::Register(other) => self.register(*other)?,
            RegisterRule::Expression(expression) => {
                let at = self.evaluate(description, expression, Some(frame_end))?;
                self.stack.read(at)?
            }
            RegisterRule::ValExpression(expression) => {
                self.evaluate(description, expression, Some(frame_end))?
            }
            RegisterRule::Constant(value) => *value,
            _ => return Some(Saved::Lost),
        };
        Some(Saved::Is(value))
    }

    /// The value of an expression, of the operations that compilers and the C library use.
    #[inline(never)]
    fn evaluate(
        &mut self,
        description: &Description,
        expression: &UnwindExpression<usize>,
        first: Option<u64>,
    ) -> Option<u64> {
        let expression = expression.get(&description.frames).ok()?;
        let mut bytes = expression.0;
        let mut values = Values::new();
        if let Some(first) = first {
            values.push(first)?;
        }
        while !bytes.is_empty() {
            match Operation::parse(&mut bytes, ENCODING).ok()? {
                Operation::RegisterOffset {
                    register, offset, ..
                } => values.push(self.register(register)?.wrapping_add_signed(offset))?,
                Operation::Deref { size: 8, .. } => {
                    let at = values.pop()?;
                    values.push(self.stack.read(at)?)?;
                }
                Operation::UnsignedConstant { value } => values.push(value)?,
                Operation::SignedConstant { value } => values.push(value as u64)?,
                Operation::PlusConstant { value } => {
                    let last = values.pop()?;
                    values.push(last.wrapping_add(value))?;
                }
                operation => values.combine(&operation)?,
            }
        }
        values.pop()
    }
}

/// The values of an expression that is being evaluated.
struct Values {
    all: [u64; VALUES_MAX],
    count: usize,
}

impl Values {
    fn new() -> Self {
        Self {
            all: [0; VALUES_MAX],
            count: 0,
        }
    }

    fn push(&mut self, value: u64) -> Option<()> {
        *self.all.get_mut(self.count)? = value;
        self.count += 1;
        Some(())
    }

    fn pop(&mut self) -> Option<u64> {
        self.count = self.count.checked_sub(1)?;
        Some(self.all[self.count])
    }

    /// Replaces the last two by what an operation makes of them.
    fn combine(&mut self, operation: &Operation<Slice>) -> Option<()> {
        let right = self.pop()?;
        let left = self.pop()?;
        self.push(match operation {
            Operation::Plus => left.wrapping_add(right),
            Operation::Minus => left.wrapping_sub(right),
            Operation::And => left & right,
            Operation::Or => left | right,
            Operation::Mul => left.wrapping_mul(right),
            Operation::Shl => left.checked_shl(right as u32).unwrap_or(0),
            Operation::Shr => left.checked_shr(right as u32).unwrap_or(0),
            Operation::Ge => u64::from(left as i64 >= right as i64),
            Operation::Gt => u64::from(left as i64 > right as i64),
            Operation::Le => u64::from(left as i64 <= right as i64),
            Operation::Lt => u64::from((left as i64) < right as i64),
            Operation::Eq => u64::from(left == right),
            Operation::Ne => u64::from(left != right),
            _ => return None,
        })
    }
}

/// An object's descriptions of frames.
struct Description {
    head: EhFrameHdr<Slice>,
    frames: EhFrame<Slice>,
    bases: BaseAddresses,
}

impl Description {
    fn of(object: &Object) -> Option<Self> {
        if object.frames == 0 {
            return None;
        }
        let head = EhFrameHdr::new(bytes(object, object.frames)?, NativeEndian);
        let bases = BaseAddresses::default().set_eh_frame_hdr(object.frames);
        let gimli::Pointer::Direct(at) = head.parse(&bases, 8).ok()?.eh_frame_ptr() else {
            return None;
        };
        Some(Self {
            head,
            frames: EhFrame::new(bytes(object, at)?, NativeEndian),
            bases: bases.set_eh_frame(at),
        })
    }

    /// The rules at an address, and whether it is the place at which a signal has interrupted.
    fn row<'a>(
        &self,
        rules: &'a mut UnwindContext<usize, Rules>,
        address: u64,
    ) -> Option<(&'a UnwindTableRow<usize, Rules>, bool)> {
        let head = self.head.parse(&self.bases, 8).ok()?;
        let entry = head
            .table()?
            .fde_for_address(&self.frames, &self.bases, address, EhFrame::cie_from_offset)
            .ok()?;
        let is_signal = entry.is_signal_trampoline();
        let row = entry
            .unwind_info_for_address(&self.frames, &self.bases, rules, address)
            .ok()?;
        Some((row, is_signal))
    }
}

/// What of an object lies behind an address.
fn bytes(object: &Object, address: u64) -> Option<&'static [u8]> {
    let length = object.end.checked_sub(address)?;
    (address >= object.start).then(|| {
        // SAFETY: a table that the loader has mapped permanently: its object is running. It ends by
        // itself; nothing behind it is read.
        unsafe { std::slice::from_raw_parts(address as *const u8, length as usize) }
    })
}
