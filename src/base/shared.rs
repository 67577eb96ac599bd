//! A value that the threads of one process share, and that a forked child has anew.
//!
//! Invariant: whoever forks while another thread holds the value leaves the child a lock that nobody opens; the child
//! therefore never looks at it and begins with a default one. What must outlive a fork does not belong here.

use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A value behind a lock, made when it is first asked for.
#[derive(Debug)]
pub struct Shared<T> {
    current: AtomicPtr<Of<T>>,
}

/// The value of one process; never freed, because a guard may look at it.
#[derive(Debug)]
struct Of<T> {
    process: u32,
    value: Mutex<T>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Shared<T> {
    /// No value yet.
    pub const fn new() -> Self {
        Self { current: AtomicPtr::new(std::ptr::null_mut()) }
    }
}

impl<T: Default + Send + 'static> Shared<T> {
    /// The value, for one thread alone; one that panicked with it does no harm.
    pub fn lock(&self) -> MutexGuard<'static, T> {
        self.own().lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own(&self) -> &'static Mutex<T> {
        let process = std::process::id();
        let mut found = self.current.load(Ordering::Acquire);
        loop {
            // SAFETY: the pointer is null or comes from the box below, which is never freed once it is here.
            if let Some(known) = unsafe { found.as_ref() }.filter(|known| known.process == process) {
                return &known.value;
            }
            let fresh = Box::into_raw(Box::new(Of { process, value: Mutex::default() }));
            match self.current.compare_exchange(found, fresh, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: just made, and never freed from now on.
                Ok(_) => return unsafe { &(*fresh).value },
                Err(other) => {
                    // SAFETY: just made, and nobody else has seen it.
                    drop(unsafe { Box::from_raw(fresh) });
                    found = other;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_one_value() {
        static COUNT: Shared<u32> = Shared::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|_| *COUNT.lock() += 1));
            }
        });
        assert_eq!(*COUNT.lock(), 8000);
    }

    #[test]
    fn a_thread_that_panics_does_no_harm() {
        static TEXT: Shared<String> = Shared::new();
        let ended = std::thread::spawn(|| {
            let mut held = TEXT.lock();
            held.push('x');
            panic!("on purpose");
        });
        assert!(ended.join().is_err());
        assert_eq!(*TEXT.lock(), "x");
    }
}
