//! An epoll instance: the system calls of epoll(7).

use std::io;
use std::time::Duration;

use crate::Descriptor;
use crate::fork;
use crate::socket::check;

/// The epoll descriptor.
pub(crate) struct Instance {
    descriptor: Descriptor,
    /// Whether `epoll_pwait2(2)` is there (Linux 5.11), which takes nanoseconds.
    fine: bool,
}

impl Instance {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let descriptor = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        fork::close_in_children(descriptor);
        Ok(Self {
            descriptor,
            fine: true,
        })
    }

    pub(crate) fn descriptor(&self) -> Descriptor {
        self.descriptor
    }

    pub(crate) fn control(
        &self,
        operation: i32,
        descriptor: Descriptor,
        mask: u8,
        data: u64,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: mask.into(),
            u64: data,
        };
        // SAFETY: the event is ours and lives through the call.
        let result =
            unsafe { libc::epoll_ctl(self.descriptor, operation, descriptor, &raw mut event) };
        check(result).map(drop)
    }

    /// Watch a descriptor, which is watched already if `is_known`. It may have been closed, and its
    /// number given to another descriptor, without our knowledge.
    pub(crate) fn watch(
        &self,
        descriptor: Descriptor,
        mask: u8,
        data: u64,
        is_known: bool,
    ) -> io::Result<()> {
        let (first, second) = if is_known {
            (libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_ADD)
        } else {
            (libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_MOD)
        };
        match self.control(first, descriptor, mask, data) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EEXIST)) => {
                self.control(second, descriptor, mask, data)
            }
            result => result,
        }
    }

    /// Watch the waker's descriptor: each write to it is one event (EPOLLET, epoll(7)).
    pub(crate) fn watch_waker(&self, descriptor: Descriptor, data: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: (libc::EPOLLIN | libc::EPOLLET) as u32,
            u64: data,
        };
        let operation = libc::EPOLL_CTL_ADD;
        // SAFETY: the event is ours and lives through the call.
        let result =
            unsafe { libc::epoll_ctl(self.descriptor, operation, descriptor, &raw mut event) };
        check(result).map(drop)
    }

    pub(crate) fn wait(
        &mut self,
        events: &mut [libc::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let count = events.len() as i32;
        let events = events.as_mut_ptr();
        if let Some(timeout) = timeout.filter(|timeout| self.fine && !timeout.is_zero()) {
            let time = libc::timespec {
                tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: timeout.subsec_nanos().into(),
            };
            let no_mask: *const libc::sigset_t = std::ptr::null();
            // SAFETY: `events` has room for `count`, and the time lives through the call.
            let result = unsafe {
                let number = libc::SYS_epoll_pwait2;
                libc::syscall(
                    number,
                    self.descriptor,
                    events,
                    count,
                    &raw const time,
                    no_mask,
                    8,
                )
            };
            match check(result as i32) {
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.fine = false;
                }
                result => return result.map(|count| count as usize),
            }
        }
        // Rounded up: a timer that comes due within a millisecond is not spun for.
        let milliseconds = timeout.map_or(-1, |timeout| {
            i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        // SAFETY: `events` has room for `count`.
        let result = unsafe { libc::epoll_wait(self.descriptor, events, count, milliseconds) };
        check(result).map(|count| count as usize)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        fork::forget(self.descriptor);
        // SAFETY: the descriptor is ours alone.
        unsafe { libc::close(self.descriptor) };
    }
}
