//! Taking a Python lock: first by trying, and then by waiting, which is recorded.

use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::acts::{leave_stack, show_wait, taken, taken_as, want, want_as};
use super::interface::{Interface, Object};
use super::ways::{Arguments, FastKeywords, Keywords};
use super::{Act, Hook, Taken, python};
use crate::layout::Kind;
use crate::log::Request;
use crate::{calls, locks, perturb, threads};

/// The arguments `(False,)`, to try, and those that wait for a while: as a tuple each.
static TRY: AtomicUsize = AtomicUsize::new(0);
static A_WHILE: AtomicUsize = AtomicUsize::new(0);

/// Makes the arguments.
///
/// # Safety
///
/// The interpreter is ready and this thread holds the GIL.
pub(super) unsafe fn prepare(python: &Interface) {
    // SAFETY: the caller's promise; a tuple takes over what is put in, and is kept permanently.
    unsafe {
        let arguments = (python.new_tuple)(1);
        (python.set_item)(arguments, 0, (python.new_bool)(0));
        TRY.store(arguments as usize, Ordering::Release);
        let arguments = (python.new_tuple)(2);
        let seconds = Duration::from_nanos(calls::LONG_NANOSECONDS).as_secs_f64();
        (python.set_item)(arguments, 0, (python.new_bool)(1));
        (python.set_item)(arguments, 1, (python.new_float)(seconds));
        A_WHILE.store(arguments as usize, Ordering::Release);
    }
}

/// Calls the type's plain `acquire` with a tuple of one or two arguments.
///
/// # Safety
///
/// `hook.acquire` is that method, and this thread holds the GIL.
unsafe fn call_with(hook: &Hook, lock: Taken, arguments: &AtomicUsize) -> Object {
    let arguments = arguments.load(Ordering::Relaxed) as Object;
    let address = hook.acquire.load(Ordering::Relaxed);
    // SAFETY: the caller's promise; the flag says which of two types the function has. What the
    // tuple holds is borrowed.
    unsafe {
        if !hook.acquire_is_fast.load(Ordering::Relaxed) {
            let real: Keywords = std::mem::transmute(address);
            return real(lock.object, arguments, ptr::null_mut());
        }
        let real: FastKeywords = std::mem::transmute(address);
        let python = python();
        let count = (python.tuple_size)(arguments);
        let mut items = [ptr::null_mut(); 2];
        for (position, item) in (0..count).zip(&mut items) {
            *item = (python.tuple_item)(arguments, position);
        }
        real(lock.object, items.as_ptr(), count, ptr::null_mut())
    }
}

/// Whether `acquire` was called so that it may wait without end. Not where the method will refuse
/// what it was given: that is left to it.
pub(super) fn waits_forever(kind: Kind, given: &Arguments) -> bool {
    let python = python();
    let is_semaphore = kind == Kind::PythonSemaphore;
    // SAFETY: a method was called with these arguments; what comes out is borrowed.
    unsafe {
        let (count, names) = given.counts(python);
        if names == 0 && count < 2 {
            return count == 0 || is_yes(given.at(python, 0));
        }
        let mut met = 0;
        let mut find = |position: isize, name: &CStr| {
            if count > position {
                return given.at(python, position);
            }
            let found = if names > 0 {
                given.named(python, name)
            } else {
                ptr::null_mut()
            };
            met += isize::from(!found.is_null());
            found
        };
        let blocking = find(0, if is_semaphore { c"block" } else { c"blocking" });
        let timeout = find(1, c"timeout");
        if count > 2 || met != names || !blocking.is_null() && !is_yes(blocking) {
            return false;
        }
        if is_semaphore {
            return timeout.is_null() || timeout == python.none;
        }
        #[expect(
            clippy::float_cmp,
            reason = "it is the one number that stands for no limit"
        )]
        let has_no_limit = timeout.is_null() || (python.as_double)(timeout) == -1.0;
        let is_wrong = !(python.error)().is_null();
        (python.clear_error)();
        has_no_limit && !is_wrong
    }
}

/// Whether an object is true, by itself.
unsafe fn is_yes(object: Object) -> bool {
    let python = python();
    if object == python.yes || object == python.no {
        return object == python.yes;
    }
    // SAFETY: the caller's object; an error of its own is the method's to raise.
    unsafe {
        let is_yes = (python.is_true)(object) == 1;
        (python.clear_error)();
        is_yes
    }
}

#[inline]
pub(super) fn acquire(hook: &Hook, lock: Taken, call: &impl Fn() -> Object) -> Object {
    if perturb::is_on() {
        // Others may run meanwhile, which is the point.
        // SAFETY: a method of a lock runs with the GIL held.
        unsafe {
            let state = (python().save_thread)();
            perturb::delay();
            (python().restore_thread)(state);
        }
    }
    let address = hook.acquire.load(Ordering::Relaxed);
    if address == 0 {
        want(lock);
        let request = Request::outside(0, 0);
        let result = call();
        if result == python().yes {
            taken(lock, &request);
        }
        return result;
    }
    let Some(inside) = threads::enter() else {
        return call();
    };
    let number = locks::find(inside.region, lock.address, lock.kind, 0);
    if let Some(number) = number {
        if hook.act == Act::Enter {
            locks::become_owned(inside.region, number);
        }
        want_as(&inside, number, lock);
    }
    let request = Request::begin(inside.region, 0, 0);
    let python = python();
    // SAFETY: the type's own `acquire`, which takes `(False,)`; this thread holds the GIL. It runs
    // no code of the program, which would not be watched.
    unsafe {
        let tried = call_with(hook, lock, &TRY);
        if tried == python.yes {
            if let Some(number) = number {
                taken_as(&inside, number, lock, &request);
            }
            return tried;
        }
        if tried.is_null() {
            (python.clear_error)();
        } else {
            (python.release)(tried);
        }
    }
    drop(inside);
    wait(hook, lock, call, request)
}

/// Another thread holds the lock: record the wait. Most waits are short, and a stack costs more
/// than they do. So the thread first waits for a while, then records its stack, and waits until the
/// end.
#[cold]
fn wait(hook: &Hook, lock: Taken, call: &impl Fn() -> Object, mut request: Request) -> Object {
    request.meets_another();
    let result = match show_wait(lock) {
        None => call(),
        Some(outer) => {
            let mut result = wait_a_while(hook, lock);
            if !result.is_null() && result != python().yes {
                // SAFETY: the new reference that the call gave; this thread holds the GIL.
                unsafe { (python().release)(result) };
                leave_stack();
                result = call();
            }
            if let Some(inside) = threads::enter() {
                calls::end_wait(inside.thread, &outer);
            }
            result
        }
    };
    if result == python().yes {
        taken(lock, &request);
    }
    result
}

/// What `acquire` gives that waits until a stack is due. A signal's handler may end it by an error.
fn wait_a_while(hook: &Hook, lock: Taken) -> Object {
    // SAFETY: the method was called, and has an `acquire`; this thread holds the GIL.
    unsafe { call_with(hook, lock, &A_WHILE) }
}
