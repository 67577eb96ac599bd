//! Holds what one exchange occupies: its permit, and the memory of its heads.
//!
//! Invariants: a head of ordinary size costs nothing; a larger one is charged to the supervisor's budget before the
//! exchange waits for anything, so that many large heads are refused and not held.

use http::HeaderMap;
use server::{Budget, Charge};
use tokio::sync::OwnedSemaphorePermit;

/// Bytes of a head that are not charged.
const FREE: usize = 8 * 1024;
/// A head is held as it came, as parsed, and as it is sent on.
const COPIES: usize = 3;

/// The memory of the heads of one exchange.
pub(crate) struct Heads(Charge);

impl Heads {
    /// Charges a request's head; `None` when the budget has too little left.
    pub fn charge(budget: &Budget, headers: &HeaderMap) -> Option<Self> {
        budget.charge(cost(headers)).map(Self)
    }

    /// Charges an answer's head as well; false when the budget has too little left.
    pub fn add(&mut self, headers: &HeaderMap) -> bool {
        let cost = cost(headers);
        cost == 0 || self.0.grow(cost)
    }
}

/// One of the exchanges under way.
pub(crate) struct Slot {
    pub heads: Heads,
    pub _permit: OwnedSemaphorePermit,
}

fn cost(headers: &HeaderMap) -> usize {
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size > FREE { COPIES * size } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_heads_are_charged_and_refused_when_the_budget_is_used_up() {
        let budget = Budget::new(100_000);
        let head = |size: usize| HeaderMap::from_iter([(http::header::COOKIE, "v".repeat(size).parse().unwrap())]);
        let mut one = Heads::charge(&budget, &head(1_000)).unwrap();
        assert_eq!(budget.left(), 100_000);
        assert!(one.add(&head(20_000)) && budget.left() < 40_000);
        assert!(Heads::charge(&budget, &head(20_000)).is_none() && !one.add(&head(20_000)));
        assert!(Heads::charge(&budget, &head(8_000)).is_some());
        drop(one);
        assert_eq!(budget.left(), 100_000);
    }
}
