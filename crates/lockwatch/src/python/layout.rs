//! Where the interpreter keeps the data of a stack of Python code.
//!
//! The interface for frames (`PyFrame_GetBack` and similar functions) creates an object for each
//! frame. This allocates memory, may run the garbage collector, and needs the GIL. That is too
//! expensive when a lock is taken, and impossible for a thread that waits for the GIL. The
//! interface reads plain words, and the frames of a thread do not change while it runs code of this
//! library. So these words are read directly. Their places are **found in the running interpreter
//! and not compiled in**: a code object with known contents is created, and the place of the
//! innermost frame is where the thread's state refers to the frame that the interface returns. Only
//! the order of a frame's first words depends on the version (3.11; 3.12 and later), and it is used
//! only after a comparison with what the interface says about a real frame. If anything differs,
//! stacks contain no Python code, and everything else still works.

use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::interface::{Interface, Object};
use super::lines;

/// Byte offsets.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    header: usize,
    /// In a thread's state: its innermost frame, or what points to that at `indirect`.
    state: usize,
    indirect: Option<usize>,
    /// In a frame.
    pub(super) frame: FrameLayout,
    /// In a code object. The name and the qualified name follow the file.
    file: usize,
    first_line: usize,
    /// Where the instructions begin: the size of a code object without them.
    instructions: usize,
    /// In a text: the word of its state, and the bit that says that it is ASCII.
    text_state: usize,
    ascii: u32,
}

#[derive(Clone, Copy)]
pub(super) struct FrameLayout {
    code: usize,
    previous: usize,
    instruction: usize,
    /// A byte that says where a call of C into Python begins, and its value: until Python 3.11 in
    /// the first frame of the call, later in a frame of its own that is none of the program's.
    entry: usize,
    entry_value: u8,
    pub(super) entry_is_own: bool,
}

const FRAME_3_11: FrameLayout = FrameLayout {
    code: 32,
    previous: 48,
    instruction: 56,
    entry: 68,
    entry_value: 1,
    entry_is_own: false,
};
const FRAME_3_12: FrameLayout = FrameLayout {
    code: 0,
    previous: 8,
    instruction: 56,
    entry: 70,
    entry_value: 3,
    entry_is_own: true,
};

static LAYOUT: AtomicPtr<Layout> = AtomicPtr::new(ptr::null_mut());
/// How often it was looked for; the first looks may find no frame yet.
static TRIES: AtomicU32 = AtomicU32::new(0);
const TRIES_MAX: u32 = 64;

/// The layout, if it was found.
#[inline]
pub(super) fn get() -> Option<&'static Layout> {
    // SAFETY: null, or a leaked box.
    unsafe { LAYOUT.load(Ordering::Acquire).as_ref() }
}

/// Looks for the layout. The thread has the GIL, and may allocate.
///
/// # Safety
///
/// The interpreter is ready and this thread's state is the current one.
pub(super) unsafe fn find(python: &Interface) {
    if get().is_some() || TRIES.fetch_add(1, Ordering::Relaxed) >= TRIES_MAX {
        return;
    }
    // SAFETY: the caller's promise; the frame is borrowed.
    unsafe {
        let frame = (python.frame)();
        if !frame.is_null()
            && let Some(layout) = of_frame(python, frame)
        {
            LAYOUT.store(Box::into_raw(Box::new(layout)), Ordering::Release);
        }
    }
}

/// # Safety
///
/// As for `find`; `address` is a word of an object.
unsafe fn word(address: usize, offset: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { ((address + offset) as *const usize).read() }
}

/// # Safety
///
/// As for `find`; the frame is the thread's innermost one.
unsafe fn of_frame(python: &Interface, frame: Object) -> Option<Layout> {
    // SAFETY: as the caller promises; new references are released.
    unsafe {
        let header = super::header_bytes(python);
        let is_3_11 = CStr::from_ptr((python.version)())
            .to_bytes()
            .starts_with(b"3.11.");
        let frame_layout = if is_3_11 { FRAME_3_11 } else { FRAME_3_12 };
        let inner = word(frame as usize, header + 8);
        let (state, indirect) = find_state((python.current)() as usize, inner)?;
        let mut layout = of_code(python, header, frame_layout)?;
        (layout.state, layout.indirect) = (state, indirect);
        let code = (python.frame_code)(frame);
        let line = u64::try_from((python.frame_line)(frame)).ok()?;
        let flags = (python.attribute)(code, c"co_flags".as_ptr());
        let is_same = !flags.is_null()
            && layout.flags(code as usize) == (python.as_long)(flags) as u32
            && layout
                .read(inner)
                .is_some_and(|read| read.code == code as usize && layout.line(&read) == line);
        for object in [code, flags] {
            if !object.is_null() {
                (python.release)(object);
            }
        }
        (python.clear_error)();
        is_same.then_some(layout)
    }
}

/// Where a thread's state points to its innermost frame, perhaps by way of a structure that lies on
/// the C stack (until Python 3.12).
unsafe fn find_state(state: usize, inner: usize) -> Option<(usize, Option<usize>)> {
    const WORDS: usize = 48;
    let here = ptr::from_ref(&state).addr();
    // SAFETY: a thread's state is larger; what lies a little above this frame is the stack's.
    unsafe {
        let direct = (0..WORDS).map(|position| position * 8);
        for offset in direct.clone() {
            if word(state, offset) == inner {
                return Some((offset, None));
            }
        }
        for offset in direct {
            let at = word(state, offset);
            let is_near = at.is_multiple_of(8) && (here..stack_end()?).contains(&(at + 16));
            for inside in [0, 8] {
                if is_near && word(at, inside) == inner {
                    return Some((offset, Some(inside)));
                }
            }
        }
    }
    None
}

/// The end of this thread's stack.
fn stack_end() -> Option<usize> {
    // SAFETY: the structure is ours, filled before it is read, and given back.
    unsafe {
        let mut attributes = std::mem::zeroed::<libc::pthread_attr_t>();
        if libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) != 0 {
            return None;
        }
        let (mut base, mut bytes) = (ptr::null_mut(), 0);
        let result =
            libc::pthread_attr_getstack(&raw const attributes, &raw mut base, &raw mut bytes);
        libc::pthread_attr_destroy(&raw mut attributes);
        (result == 0).then_some(base.addr() + bytes)
    }
}

/// The layout of code objects and texts, from such that are made for it.
unsafe fn of_code(python: &Interface, header: usize, frame: FrameLayout) -> Option<Layout> {
    const LINE: i32 = 0x0123_4567;
    const WORDS: usize = 32;
    // SAFETY: as for `find`; the few new objects are kept permanently.
    unsafe {
        let code = (python.new_code)(c"a file".as_ptr(), c"a name".as_ptr(), LINE);
        // Two texts of one byte a letter, made the same way.
        let plain = (python.new_text)(c"ee".as_ptr());
        let other = (python.new_text)(c"\u{e9}\u{e9}".as_ptr());
        if code.is_null() || plain.is_null() || other.is_null() {
            (python.clear_error)();
            return None;
        }
        let file = (python.attribute)(code, c"co_filename".as_ptr());
        let name = (python.attribute)(code, c"co_qualname".as_ptr());
        if file.is_null() || name.is_null() {
            (python.clear_error)();
            return None;
        }
        (python.release)(file);
        (python.release)(name);
        let code = code as usize;
        let at = (header / 8..WORDS)
            .map(|position| position * 8)
            .find(|at| word(code, *at) == file as usize && word(code, at + 16) == name as usize)?;
        let first_line = (header..WORDS * 8)
            .step_by(4)
            .find(|at| ((code + at) as *const i32).read() == LINE)?;
        let text_state = header + 16;
        let state_of = |text: Object| ((text as usize + text_state) as *const u32).read();
        let ascii = ascii_bit(state_of(plain), state_of(other));
        Some(Layout {
            header,
            state: 0,
            indirect: None,
            frame,
            file: at,
            first_line,
            instructions: word(word(code, header - 8), header + 16),
            text_state,
            ascii,
        })
    }
}

/// The bit that says that a text is ASCII, from the states of one that is and of one that is not:
/// it is behind three that report a letter's bytes and one that is set. Bits that are not used may
/// have any value. 0 where it is not found.
fn ascii_bit(plain: u32, other: u32) -> u32 {
    const BITS: u32 = 0b1_1111;
    // The bits before are two, or eight where there is no GIL (since 3.14).
    [2, 8]
        .into_iter()
        .find(|before| plain >> before & BITS == 0b1_1001 && other >> before & BITS == 0b0_1001)
        .map_or(0, |before| 1 << (before + 4))
}

/// What a frame tells.
pub(super) struct Frame {
    pub(super) code: usize,
    pub(super) instruction: usize,
}

impl Layout {
    /// The innermost frame of a thread's state.
    ///
    /// # Safety
    ///
    /// It is this thread's, and not being deleted.
    #[inline]
    pub(super) unsafe fn innermost(&self, state: Object) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            let at = word(state as usize, self.state);
            match self.indirect {
                Some(inside) if at != 0 => word(at, inside),
                _ => at,
            }
        }
    }

    /// Where the innermost call of C into Python lies on the native stack, until Python 3.12: a
    /// structure that names its frame and the call before it.
    ///
    /// # Safety
    ///
    /// As for `innermost`.
    pub(super) unsafe fn innermost_call(&self, state: Object) -> Option<usize> {
        // SAFETY: the caller's promise.
        (!self.frame.entry_is_own).then(|| unsafe { word(state as usize, self.state) })
    }

    /// The call before that.
    ///
    /// # Safety
    ///
    /// It is one of this thread's.
    pub(super) unsafe fn outer_call(&self, call: usize) -> usize {
        match self.indirect {
            // SAFETY: the caller's promise.
            Some(inside) if call != 0 => unsafe { word(call, inside + 8) },
            _ => 0,
        }
    }

    /// The frame that called this one.
    ///
    /// # Safety
    ///
    /// It is one of this thread's.
    #[inline]
    pub(super) unsafe fn previous(&self, frame: usize) -> usize {
        // SAFETY: the caller's promise.
        unsafe { word(frame, self.frame.previous) }
    }

    /// The words of a frame that say where it is: its code and its instruction, as they are.
    ///
    /// # Safety
    ///
    /// It is one of this thread's.
    #[inline]
    pub(super) unsafe fn words(&self, frame: usize) -> [u64; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            [
                word(frame, self.frame.code) as u64,
                word(frame, self.frame.instruction) as u64,
            ]
        }
    }

    /// What the frame tells, if it is one of Python code.
    ///
    /// # Safety
    ///
    /// It is one of this thread's.
    #[inline]
    pub(super) unsafe fn read(&self, frame: usize) -> Option<Frame> {
        // SAFETY: the caller's promise. The lowest bits of a reference may be marks.
        let (code, instruction) = unsafe {
            (
                word(frame, self.frame.code) & !3,
                word(frame, self.frame.instruction),
            )
        };
        (code != 0).then_some(Frame { code, instruction })
    }

    /// Whether a call of C into Python begins here.
    ///
    /// # Safety
    ///
    /// It is one of this thread's frames.
    pub(super) unsafe fn is_entry(&self, frame: usize) -> bool {
        // SAFETY: the caller's promise.
        let byte = unsafe { ((frame + self.frame.entry) as *const u8).read() };
        byte == self.frame.entry_value
    }

    /// Whether what a frame executes is code: not so in frames that only mark a call.
    ///
    /// # Safety
    ///
    /// It is an object.
    pub(super) unsafe fn is_code(&self, python: &Interface, object: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { word(object, self.header - 8) == python.code_type as usize }
    }

    /// The file and the qualified name.
    ///
    /// # Safety
    ///
    /// The frame's code is alive.
    pub(super) unsafe fn texts(&self, code: usize) -> (Object, Object) {
        // SAFETY: the caller's promise.
        unsafe {
            (
                word(code, self.file) as Object,
                word(code, self.file + 16) as Object,
            )
        }
    }

    /// `co_flags`, which are behind a size and three references.
    ///
    /// # Safety
    ///
    /// The code is alive.
    pub(super) unsafe fn flags(&self, code: usize) -> u32 {
        // SAFETY: the caller's promise.
        unsafe { ((code + self.header + 32) as *const u32).read() }
    }

    /// Whether a text's letters can be read without the GIL.
    ///
    /// # Safety
    ///
    /// It is a text.
    pub(super) unsafe fn is_ascii(&self, text: Object) -> bool {
        // SAFETY: the caller's promise.
        let state = unsafe { ((text as usize + self.text_state) as *const u32).read() };
        self.ascii != 0 && state & self.ascii == self.ascii
    }

    /// The line that a frame is at; the code's first where it is not known.
    ///
    /// # Safety
    ///
    /// The frame's code is alive.
    pub(super) unsafe fn line(&self, frame: &Frame) -> u64 {
        // SAFETY: the caller's promise; the table of lines is the third text behind the file, and
        // an object of bytes: a size and a hash, then the bytes.
        unsafe {
            let first = ((frame.code + self.first_line) as *const i32).read();
            let table = word(frame.code, self.file + 24);
            let bytes = (table + self.header + 16) as *const u8;
            let table = std::slice::from_raw_parts(bytes, word(table, self.header));
            let start = frame.code + self.instructions;
            let units = word(frame.code, self.header);
            // A thread without the GIL may have instructions of its own.
            let unit = frame.instruction.wrapping_sub(start) / 2;
            let line = if unit < units {
                lines::line_at(table, first, unit)
            } else {
                first
            };
            u64::try_from(line).unwrap_or(0)
        }
    }
}
