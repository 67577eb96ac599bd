//! A budget of memory that the services of one supervisor share for what a container makes them hold.
//!
//! Invariants: charges never exceed the budget together; dropping a [`Charge`] gives its bytes back; a refused charge
//! changes nothing. Nothing is allocated here: a charge stands for memory that its holder allocates.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// Bytes that the services of one supervisor may hold together for its container.
pub const BUDGET: usize = 12 * 1024 * 1024;

/// The shared budget; clones are handles of the same one.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self::new(BUDGET)
    }
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Takes `bytes`, or `None` when less than that is left.
    pub fn charge(&self, bytes: usize) -> Option<Charge> {
        let count = u32::try_from(bytes).ok()?;
        match self.0.clone().try_acquire_many_owned(count) {
            Ok(permit) => Some(Charge { budget: self.clone(), permit }),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => None,
        }
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.0.available_permits()
    }
}

/// Bytes that are taken until this is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    permit: OwnedSemaphorePermit,
}

impl Charge {
    /// Takes `bytes` more; false when less than that is left.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let Some(more) = self.budget.charge(bytes) else { return false };
        self.permit.merge(more.permit);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_share_the_budget_and_give_it_back() {
        let budget = Budget::new(100);
        let mut one = budget.charge(60).unwrap();
        assert!(budget.charge(41).is_none() && budget.charge(usize::MAX).is_none());
        let two = budget.clone().charge(30).unwrap();
        assert!(!one.grow(11) && one.grow(10));
        assert_eq!(budget.left(), 0);
        drop(one);
        assert_eq!(budget.left(), 70);
        drop(two);
        assert_eq!(budget.left(), 100);
    }
}
