//! Small delays at lock operations, so that orders occur that are rare at full speed.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The seed, odd; 0 for no delays.
static SEED: AtomicU64 = AtomicU64::new(0);
/// Each thread derives its own sequence from it.
static NEXT: AtomicU64 = AtomicU64::new(1);

const ONE_IN: u64 = 8;
const MICROSECONDS_MAX: u64 = 200;

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// Delays from now on, as the environment says.
pub(crate) fn begin() {
    // SAFETY: the name ends with a zero; nothing changes the environment while a process starts.
    let text = unsafe { libc::getenv(c"VESPIARY_LOCKS_PERTURB".as_ptr()) };
    if text.is_null() {
        return;
    }
    // SAFETY: an environment's value ends with a zero.
    let text = unsafe { std::ffi::CStr::from_ptr(text) };
    let seed = text.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = seed {
        SEED.store(seed.wrapping_mul(2) | 1, Ordering::Relaxed);
    }
}

/// Whether there are delays at all.
#[inline]
pub(crate) fn is_on() -> bool {
    SEED.load(Ordering::Relaxed) != 0
}

/// Delays this thread, one time in several, for up to some hundred microseconds.
#[inline]
pub(crate) fn now_and_then() {
    if is_on() {
        delay();
    }
}

/// How long this operation is delayed, in microseconds; mostly not at all.
fn draw() -> u64 {
    let mut state = STATE.get();
    if state == 0 {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        state = SEED
            .load(Ordering::Relaxed)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ number << 32
            | 1;
    }
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    STATE.set(state);
    let value = state >> 20;
    if value.is_multiple_of(ONE_IN) {
        value / ONE_IN % MICROSECONDS_MAX
    } else {
        0
    }
}

#[cold]
pub(crate) fn delay() {
    let microseconds = draw();
    if microseconds > 0 {
        // SAFETY: sleeping has no conditions.
        unsafe { libc::usleep(microseconds as libc::useconds_t) };
    }
}
