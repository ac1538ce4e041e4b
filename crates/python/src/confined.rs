//! A value that belongs to the loop's thread, inside an object that any thread may hold.

thread_local! {
    static MARK: u8 = const { 0 };
}

/// A number that tells the current thread from all others alive: the address of a variable of its
/// own.
#[inline]
pub(crate) fn this_thread() -> usize {
    MARK.with(|mark| std::ptr::from_ref(mark) as usize)
}

/// A value that only the loop's thread may touch, inside an object that any thread may hold.
pub(crate) struct Confined<T> {
    thread: usize,
    value: std::mem::ManuallyDrop<T>,
}

// SAFETY: `get` gives the value out on its own thread only, and `drop` leaks it elsewhere.
unsafe impl<T> Send for Confined<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Confined<T> {}

impl<T> Confined<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            thread: this_thread(),
            value: std::mem::ManuallyDrop::new(value),
        }
    }

    /// The value, on its own thread.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        (self.thread == this_thread()).then_some(&*self.value)
    }
}

impl<T> Drop for Confined<T> {
    fn drop(&mut self) {
        if self.thread == this_thread() {
            // SAFETY: dropped once, here, on its own thread.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.value) }
        }
    }
}
