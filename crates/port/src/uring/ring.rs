//! The two queues shared with the kernel, and the one system call that works them.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use io_uring::{EnterFlags, IoUring, Probe, opcode, squeue};

use crate::fork;
use crate::socket::check;

/// One completion queue entry.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) user_data: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
}

/// An io_uring instance that belongs to the thread of its first [`Ring::enter`].
pub(super) struct Ring {
    queues: IoUring,
    /// The ring's descriptor, or its number among the thread's registered rings.
    enter_descriptor: i32,
    enter_flags: EnterFlags,
    enabled: bool,
    /// Whether the thread was asked for a number for the ring.
    registered: bool,
    /// The thread of the first enter.
    thread: u64,
    /// Entries that found the submission queue full even after the kernel was notified of it.
    backlog: VecDeque<squeue::Entry>,
    pub(super) system_calls: u64,
}

/// `struct io_uring_getevents_arg` of `linux/io_uring.h`.
#[repr(C)]
struct GetEvents {
    sigmask: u64,
    sigmask_bytes: u32,
    min_wait_microseconds: u32,
    timespec: u64,
}

/// `struct __kernel_timespec` of `linux/time_types.h`.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// `IORING_REGISTER_RING_FDS` of `linux/io_uring.h`.
const REGISTER_RING_FDS: u32 = 20;
/// `IORING_UNREGISTER_RING_FDS`.
const UNREGISTER_RING_FDS: u32 = 21;

static THREADS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static NUMBER: u64 = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// The number of the current thread; unlike its address and the kernel's number it is never used
/// again.
fn this_thread() -> u64 {
    NUMBER.with(|number| *number)
}

/// Every operation the driver uses.
const OPERATIONS: [u8; 8] = [
    opcode::Accept::CODE,
    opcode::AsyncCancel::CODE,
    opcode::Connect::CODE,
    opcode::PollAdd::CODE,
    opcode::Recv::CODE,
    opcode::Send::CODE,
    opcode::SendMsg::CODE,
    // Not used, but younger than what multishot receive needs (Linux 6.0).
    opcode::SendZc::CODE,
];

impl Ring {
    /// A ring that is disabled until the first enter, so that it may be made on one thread and used
    /// on another.
    ///
    /// `ENOSYS`, `EPERM`, `EINVAL` and `ENOMEM` say that this kernel or this process cannot have
    /// one.
    ///
    /// `shows_work`: [`Ring::has_completion`] and [`Ring::has_work`] see completions that the
    /// kernel has not made yet.
    pub(super) fn new(submissions: u32, completions: u32, shows_work: bool) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder
            .setup_r_disabled()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_submit_all()
            .setup_cqsize(completions)
            .setup_clamp()
            .dontfork();
        if shows_work {
            builder.setup_taskrun_flag();
        }
        let queues: IoUring = builder.build(submissions)?;
        fork::close_in_children(queues.as_raw_fd());
        let mut probe = Probe::new();
        queues.submitter().register_probe(&mut probe)?;
        let has_all = OPERATIONS.iter().all(|code| probe.is_supported(*code));
        let parameters = queues.params();
        if !has_all || !parameters.is_feature_ext_arg() || !parameters.is_feature_nodrop() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut enter_flags = EnterFlags::GETEVENTS;
        if parameters.is_feature_no_iowait() {
            // An idle server is idle, not waiting for a disk.
            enter_flags |= EnterFlags::NO_IOWAIT;
        }
        Ok(Self {
            enter_descriptor: queues.as_raw_fd(),
            queues,
            enter_flags,
            enabled: false,
            registered: false,
            thread: 0,
            backlog: VecDeque::new(),
            system_calls: 0,
        })
    }

    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.queues.submitter()
    }

    /// Take the ring for this thread.
    fn enable(&mut self) -> io::Result<()> {
        self.queues.submitter().register_enable_rings()?;
        self.enabled = true;
        self.thread = this_thread();
        Ok(())
    }

    /// Give the ring a number of this thread, which saves looking up the descriptor.
    fn register(&mut self) {
        self.registered = true;
        let descriptor = self.queues.as_raw_fd();
        // A thread has 16 such numbers. Without one the descriptor serves.
        if let Some(number) = self.number(REGISTER_RING_FDS, u32::MAX, descriptor as u64) {
            self.enter_descriptor = number as i32;
            self.enter_flags |= EnterFlags::REGISTERED_RING;
        }
    }

    /// Give the number back. A closed ring stays open as long as a thread has a number of it, and
    /// keeps the sockets open that it receives from.
    pub(super) fn unregister(&mut self) {
        if !self.is_here() || !mem::take(&mut self.registered) {
            return;
        }
        if self.enter_flags.contains(EnterFlags::REGISTERED_RING) {
            self.number(UNREGISTER_RING_FDS, self.enter_descriptor as u32, 0);
            self.enter_flags.remove(EnterFlags::REGISTERED_RING);
            self.enter_descriptor = self.queues.as_raw_fd();
        }
    }

    /// Register a number of this thread's, or the reverse. `None` where that fails.
    fn number(&self, operation: u32, offset: u32, data: u64) -> Option<u32> {
        let mut update = io_uring_rsrc_update {
            offset,
            reserved: 0,
            data,
        };
        // SAFETY: the update is ours, lives through the call and is the one that the error is
        // about.
        let count = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                self.queues.as_raw_fd(),
                operation,
                &raw mut update,
                1,
            )
        };
        (count == 1).then_some(update.offset)
    }

    /// Queue a submission.
    ///
    /// # Safety
    ///
    /// What the entry points to must stay where it is until its last completion.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: the caller's promise.
        if self.backlog.is_empty() && unsafe { self.queues.submission().push(&entry) }.is_ok() {
            return;
        }
        self.backlog.push_back(entry);
        if self.enabled {
            // Failure leaves the entries in the backlog; the next turn reports it if it lasts.
            let _ = self.call(0, EnterFlags::empty(), None);
            self.drain_backlog();
        }
    }

    /// Whether the kernel has taken every submission.
    pub(super) fn is_submitted(&mut self) -> bool {
        self.backlog.is_empty() && self.queues.submission().is_empty()
    }

    /// Submit what is queued, and do nothing else.
    pub(super) fn submit(&mut self) {
        self.drain_backlog();
        // Failure leaves the entries in the queue; the next turn reports it if it lasts.
        let is_enabled = self.enabled || self.enable().is_ok();
        if is_enabled && !self.queues.submission().is_empty() {
            let _ = self.call(0, EnterFlags::empty(), None);
        }
    }

    /// Whether this thread may enter the ring.
    pub(super) fn is_here(&self) -> bool {
        !self.enabled || self.thread == this_thread()
    }

    fn drain_backlog(&mut self) {
        let mut queue = self.queues.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: anyone who pushed the entry promised for it until its last completion.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            self.backlog.pop_front();
        }
    }

    /// Submit what is queued and wait for `least` completions (0 or 1), at most for `timeout`.
    ///
    /// A timeout, a signal and a full completion queue are not errors: the caller looks and comes
    /// again. `EEXIST`: the ring belongs to another thread.
    pub(super) fn enter(&mut self, least: u32, timeout: Option<Duration>) -> io::Result<()> {
        if !self.enabled {
            self.enable()?;
        }
        if !self.registered && self.is_here() {
            self.register();
        }
        let mut least = least;
        while !self.backlog.is_empty() {
            let before = self.backlog.len();
            self.drain_backlog();
            if !self.backlog.is_empty() {
                let _ = self.call(0, EnterFlags::empty(), None);
            }
            if self.backlog.len() == before {
                // The kernel takes no more until completions are taken: do not wait.
                least = 0;
                break;
            }
        }
        let result = self.call(least, self.enter_flags, timeout);
        match result.as_ref().map_err(io::Error::raw_os_error) {
            Err(Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY)) => Ok(()),
            _ => result,
        }
    }

    fn call(&mut self, least: u32, flags: EnterFlags, timeout: Option<Duration>) -> io::Result<()> {
        if !self.is_here() {
            // What the kernel would say; but the number of a registered ring means another ring in
            // another thread.
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        let mut flags = flags | (self.enter_flags & EnterFlags::REGISTERED_RING);
        let submissions = self.queues.submission().len() as u32;
        let mut time = Timespec {
            seconds: 0,
            nanoseconds: 0,
        };
        let mut argument = GetEvents {
            sigmask: 0,
            sigmask_bytes: 0,
            min_wait_microseconds: 0,
            timespec: 0,
        };
        let (mut pointer, mut bytes) = (std::ptr::null(), 0);
        if let (Some(timeout), 1..) = (timeout, least) {
            time.seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
            time.nanoseconds = timeout.subsec_nanos().into();
            argument.timespec = &raw const time as u64;
            flags |= EnterFlags::EXT_ARG;
            pointer = &raw const argument;
            bytes = size_of::<GetEvents>();
        }
        self.system_calls += 1;
        // SAFETY: the descriptor is the ring's; the entries between the kernel's head and our tail
        // are whole; the argument and the time it points to live through the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.enter_descriptor,
                submissions,
                least,
                flags.bits(),
                pointer,
                bytes,
            )
        };
        check(result as i32).map(drop)
    }

    /// Whether a completion waits, or the kernel has one to make as soon as it is entered.
    pub(super) fn has_completion(&mut self) -> bool {
        !self.queues.completion().is_empty() || self.queues.submission().taskrun()
    }

    /// Whether an enter would do anything: there is a submission, or a completion to take or to
    /// make.
    pub(super) fn has_work(&mut self) -> bool {
        let submissions = self.queues.submission();
        let has_work = !submissions.is_empty() || submissions.cq_overflow();
        drop(submissions);
        has_work || !self.backlog.is_empty() || self.has_completion()
    }

    /// Whether the kernel writes to the registered eventfd when a completion is there or to be
    /// made.
    ///
    /// After it was switched on, [`Ring::has_work`] says whether something came before.
    pub(super) fn set_notifying(&mut self, on: bool) {
        let completions = self.queues.completion();
        if on {
            completions.enable_eventfd();
        } else {
            completions.disable_eventfd();
        }
        // The kernel marks its work and then looks at this; we do it in the opposite order.
        fence(Ordering::SeqCst);
    }

    /// Whether the kernel holds completions for which the queue had no room. The next enter brings
    /// them.
    pub(super) fn has_overflow(&mut self) -> bool {
        self.queues.submission().cq_overflow()
    }

    /// How many completions wait.
    pub(super) fn completions(&mut self) -> usize {
        self.queues.completion().len()
    }

    /// Take the next completion.
    pub(super) fn next(&mut self) -> Option<Entry> {
        let entry = self.queues.completion().next()?;
        let (user_data, result, flags) = (entry.user_data(), entry.result(), entry.flags());
        Some(Entry {
            user_data,
            result,
            flags,
        })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        fork::forget(self.queues.as_raw_fd());
    }
}

/// `struct io_uring_rsrc_update` of `linux/io_uring.h`.
#[repr(C)]
#[allow(non_camel_case_types)] // The kernel's name.
struct io_uring_rsrc_update {
    offset: u32,
    reserved: u32,
    data: u64,
}
