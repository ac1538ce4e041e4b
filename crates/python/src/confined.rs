//! A value that belongs to the loop's thread, inside an object that any thread may hold.
//!
//! Python drops an object in the thread that releases it last. If this is not the loop's thread, a
//! confined value is sent to the loop's thread and dropped there, unless it shares nothing with
//! that thread any more.

use crate::loop_handle::LoopHandle;
use std::mem::ManuallyDrop;
use std::sync::Arc;

/// What may be confined.
///
/// # Safety
/// Where `is_independent` is true, any thread may drop the value: it shares nothing that is not
/// synchronised, such as an `Rc`, with the loop's thread.
pub(crate) unsafe trait Confine: 'static {
    /// Whether the value may be dropped on any thread.
    fn is_independent(&self) -> bool {
        false
    }
}

/// A value that only the loop's thread may touch.
pub(crate) struct Confined<T: Confine> {
    handle: Arc<LoopHandle>,
    value: ManuallyDrop<T>,
}

// SAFETY: `get` gives the value out on its own thread only; see `drop`.
unsafe impl<T: Confine> Send for Confined<T> {}
// SAFETY: as above.
unsafe impl<T: Confine> Sync for Confined<T> {}

impl<T: Confine> Confined<T> {
    pub(crate) fn new(handle: Arc<LoopHandle>, value: T) -> Self {
        Self {
            handle,
            value: ManuallyDrop::new(value),
        }
    }

    /// The value, on its own thread.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.handle.is_here().then_some(&*self.value)
    }

    /// The value, on any thread.
    ///
    /// # Safety
    /// No other thread touches the value, or what it shares with others of the loop, meanwhile.
    pub(crate) unsafe fn get_anywhere(&self) -> &T {
        &self.value
    }

    /// The loop it belongs to.
    #[inline]
    pub(crate) fn handle(&self) -> &Arc<LoopHandle> {
        &self.handle
    }
}

impl<T: Confine> Drop for Confined<T> {
    fn drop(&mut self) {
        // SAFETY: taken once, here; nobody else has a reference any more.
        let value = unsafe { ManuallyDrop::take(&mut self.value) };
        if !self.handle.is_here() && !value.is_independent() {
            self.handle.give_back(Box::new(Returned(value)));
        }
    }
}

/// A value on its way to the loop's thread, to be dropped there.
pub(crate) struct Returned<T>(T);

pub(crate) trait Droppable: Send {}

// SAFETY: only dropped, and that on the loop's thread.
unsafe impl<T> Send for Returned<T> {}
impl<T> Droppable for Returned<T> {}
