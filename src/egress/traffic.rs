//! Bytes and connections by name, and the budget of bytes that may go out.
//!
//! At the limit a flow waits: nothing is lost, because nothing is read that cannot be sent. An answer of the operator
//! adds the same amount again.

use std::collections::BTreeMap;
use std::task::{Poll, Waker};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Names that are counted one by one; further ones are counted together.
const MAX_NAMES: usize = 4096;
/// The name of those beyond.
const OTHERS: &str = "(others)";

/// The figures of one name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Bytes to the name.
    pub up: u64,
    /// Bytes from the name.
    pub down: u64,
    /// Connections.
    pub connections: u64,
    /// UTC time of the last connection.
    pub last: String,
}

#[derive(Debug, Default)]
struct Account {
    figures: Figures,
    /// Bytes that may still go; the whole budget before the first one.
    left: Option<u64>,
    waiting: Vec<Waker>,
}

/// All figures of a container.
#[derive(Debug, Default)]
pub struct Traffic {
    accounts: BTreeMap<String, Account>,
    dirty: bool,
}

/// What a flow may send.
#[derive(Debug, PartialEq, Eq)]
pub enum Grant {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now. True for the first flow that finds the budget spent.
    Spent(bool),
}

impl Traffic {
    /// Continues the figures of a worker before this one.
    pub fn restore(figures: BTreeMap<String, Figures>) -> Self {
        let account = |figures| Account { figures, ..Account::default() };
        let accounts = figures.into_iter().take(MAX_NAMES).map(|(name, figures)| (name, account(figures))).collect();
        Self { accounts, dirty: false }
    }

    fn account(&mut self, name: &str) -> &mut Account {
        self.dirty = true;
        let known = self.accounts.contains_key(name) || self.accounts.len() < MAX_NAMES;
        self.accounts.entry(if known { name } else { OTHERS }.to_owned()).or_default()
    }

    /// Counts a connection.
    pub fn connected(&mut self, name: &str) {
        let account = self.account(name);
        account.figures.connections += 1;
        account.figures.last = base::clock::iso(SystemTime::now());
    }

    /// How much of `wanted` may go to a name.
    pub fn grant(&mut self, name: &str, wanted: usize, budget: Option<u64>) -> Grant {
        let Some(budget) = budget else { return Grant::Bytes(wanted) };
        let account = self.account(name);
        let spent = account.figures.up;
        let left = *account.left.get_or_insert_with(|| budget.saturating_sub(spent));
        if left == 0 {
            return Grant::Spent(account.waiting.is_empty());
        }
        Grant::Bytes(wanted.min(usize::try_from(left).unwrap_or(usize::MAX)))
    }

    /// Wakes a flow when its name gets more.
    pub fn wait(&mut self, name: &str, waker: &Waker) -> Poll<()> {
        let account = self.account(name);
        if account.left != Some(0) {
            return Poll::Ready(());
        }
        account.waiting.retain(|other| !other.will_wake(waker));
        account.waiting.push(waker.clone());
        Poll::Pending
    }

    /// Counts bytes that went to a name.
    pub fn sent(&mut self, name: &str, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let account = self.account(name);
        account.figures.up = account.figures.up.saturating_add(bytes);
        account.left = account.left.map(|left| left.saturating_sub(bytes));
    }

    /// Counts bytes that came from a name.
    pub fn received(&mut self, name: &str, bytes: usize) {
        let figures = &mut self.account(name).figures;
        figures.down = figures.down.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Gives a name its budget once more.
    pub fn replenish(&mut self, name: &str, budget: u64) {
        let account = self.account(name);
        if account.left.is_some() {
            account.left = Some(budget);
        }
        account.waiting.drain(..).for_each(Waker::wake);
    }

    /// Bytes that went to a name.
    pub fn sent_to(&self, name: &str) -> u64 {
        self.accounts.get(name).map_or(0, |account| account.figures.up)
    }

    /// All figures, when they changed since the last call.
    pub fn changed(&mut self) -> Option<BTreeMap<&str, &Figures>> {
        std::mem::take(&mut self.dirty)
            .then(|| self.accounts.iter().map(|(name, account)| (name.as_str(), &account.figures)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_stops_a_name_and_is_given_again() {
        let mut traffic = Traffic::default();
        assert_eq!(traffic.grant("a.test", 600, Some(1000)), Grant::Bytes(600));
        traffic.sent("a.test", 600);
        assert_eq!(traffic.grant("a.test", 600, Some(1000)), Grant::Bytes(400));
        traffic.sent("a.test", 400);
        assert_eq!(traffic.grant("a.test", 1, Some(1000)), Grant::Spent(true));
        assert!(traffic.wait("a.test", Waker::noop()).is_pending());
        assert_eq!(traffic.grant("a.test", 1, Some(1000)), Grant::Spent(false), "one question for all flows");
        assert_eq!(traffic.grant("b.test", 1, Some(1000)), Grant::Bytes(1), "another name");
        assert_eq!(traffic.grant("a.test", 9, None), Grant::Bytes(9), "no limit");
        traffic.replenish("a.test", 1000);
        assert_eq!(traffic.grant("a.test", 2000, Some(1000)), Grant::Bytes(1000));
    }

    #[test]
    fn figures_are_bounded_and_survive_a_restart() {
        let mut traffic = Traffic::default();
        (0..MAX_NAMES + 50).for_each(|n| traffic.sent(&format!("h{n}.test"), 7));
        let figures: BTreeMap<String, Figures> =
            traffic.changed().unwrap().into_iter().map(|(name, f)| (name.to_owned(), f.clone())).collect();
        assert_eq!((figures.len(), figures[OTHERS].up), (MAX_NAMES + 1, 50 * 7));
        assert!(traffic.changed().is_none());
        let mut next =
            Traffic::restore(BTreeMap::from([("a.test".to_owned(), Figures { up: 900, ..Figures::default() })]));
        assert_eq!(next.grant("a.test", 500, Some(1000)), Grant::Bytes(100), "what was sent before counts");
    }
}
