//! The time, which is the same for all threads and processes.

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is ours and lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    nanoseconds(&time)
}

/// A moment of a clock in nanoseconds.
pub(crate) fn nanoseconds(moment: &libc::timespec) -> u64 {
    moment.tv_sec as u64 * 1_000_000_000 + moment.tv_nsec as u64
}

/// The moment `nanoseconds` from now, of `CLOCK_MONOTONIC`.
pub(crate) fn after(nanoseconds: u64) -> libc::timespec {
    let moment = now() + nanoseconds;
    libc::timespec {
        tv_sec: (moment / 1_000_000_000) as libc::time_t,
        tv_nsec: (moment % 1_000_000_000) as libc::c_long,
    }
}
