//! One table in one network namespace: applies an image, changes elements, follows the generation.
//!
//! The socket is opened in the namespace and may be used from anywhere. Every commit of ours raises the generation by
//! exactly one, so any other number means that something else changed the rules.

use std::os::fd::{AsFd, BorrowedFd};

use crate::constant::NETLINK_NETFILTER;
use crate::dump::{self, Ruleset};
use crate::fault::NftError;
use crate::image::{ElementImage, Image, QuotaImage, RuleImage};
use crate::socket::Netlink;
use crate::transaction::{Transaction, element_size};

/// Room that a transaction needs besides its elements.
const RESERVE: usize = 4096;

/// A handle on one table.
#[derive(Debug)]
pub struct Firewall {
    socket: Netlink,
    table: String,
    generation: u32,
    transaction_limit: usize,
}

impl AsFd for Firewall {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Firewall {
    /// Opens a handle on the `inet` table of that name, in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`NftError::Socket`], or [`NftError::Refused`] where nf_tables is missing.
    pub fn open(table: &str) -> Result<Self, NftError> {
        let mut socket = Netlink::open(NETLINK_NETFILTER, "nf_tables")?;
        let generation = dump::generation(&mut socket)?;
        let transaction_limit = socket.send_limit();
        Ok(Self { socket, table: table.to_owned(), generation, transaction_limit })
    }

    /// Another handle on the same table, for a process that continues where one before it ended: what that one did not
    /// read is discarded.
    ///
    /// # Errors
    /// [`NftError::Socket`] or [`NftError::Refused`].
    pub fn continued(&self) -> Result<Self, NftError> {
        let socket = self.socket.try_clone();
        let mut socket = socket.map_err(|source| NftError::Socket { purpose: "nf_tables", source })?;
        socket.drain();
        let generation = dump::generation(&mut socket)?;
        Ok(Self { socket, table: self.table.clone(), generation, transaction_limit: self.transaction_limit })
    }

    /// Keeps transactions below `bytes`, as on a host whose sockets take less.
    pub fn limit_transactions(&mut self, bytes: usize) {
        self.transaction_limit = self.transaction_limit.min(bytes);
    }

    /// Reads all tables of the namespace.
    ///
    /// # Errors
    /// As [`dump::ruleset`].
    pub fn read(&mut self) -> Result<Ruleset, NftError> {
        dump::ruleset(&mut self.socket)
    }

    /// The generation that the namespace has now.
    ///
    /// # Errors
    /// [`NftError::Refused`].
    pub fn current_generation(&mut self) -> Result<u32, NftError> {
        dump::generation(&mut self.socket)
    }

    /// True when nothing but this handle has changed the rules since [`Firewall::accept_generation`].
    ///
    /// # Errors
    /// [`NftError::Refused`].
    pub fn is_unchanged(&mut self) -> Result<bool, NftError> {
        Ok(self.current_generation()? == self.generation)
    }

    /// Takes the generation of a dump that was compared as the one to count from.
    pub fn accept_generation(&mut self, generation: u32) {
        self.generation = generation;
    }

    /// Replaces the whole table in one transaction, or creates it.
    ///
    /// Elements of expiring sets that do not fit into one transaction follow in further ones; until then their
    /// addresses are closed, never open.
    ///
    /// # Errors
    /// [`NftError::Refused`] or [`NftError::TooLarge`]; the old table is in force then.
    pub fn apply(&mut self, image: &Image) -> Result<(), NftError> {
        let exists = dump::has_table(&mut self.socket, &self.table)?;
        let (first, later) = split(image, self.transaction_limit);
        let table = std::mem::take(&mut self.table);
        let applied = self.apply_to(&table, exists, &first, &later);
        self.table = table;
        applied
    }

    fn apply_to(
        &mut self,
        table: &str,
        exists: bool,
        first: &Image,
        later: &[(String, Vec<ElementImage>)],
    ) -> Result<(), NftError> {
        let mut transaction = Transaction::new(table);
        // A deletion makes the closing of this socket wait for the kernel: only where there is something to delete.
        if exists {
            transaction.delete_table();
        }
        transaction.create(first);
        self.commit(transaction, "apply the rules")?;
        for (set, elements) in later {
            let mut transaction = Transaction::new(table);
            transaction.add_elements(set, elements);
            self.commit(transaction, "add the remaining elements")?;
        }
        Ok(())
    }

    /// Removes the table, if there is one.
    ///
    /// # Errors
    /// [`NftError::Refused`].
    pub fn remove(&mut self) -> Result<(), NftError> {
        let table = self.table.clone();
        let mut transaction = Transaction::new(&table);
        transaction.delete_table();
        self.commit(transaction, "remove the table")
    }

    /// Removes every other table of the namespace; how many there were.
    ///
    /// # Errors
    /// [`NftError::Refused`].
    pub fn remove_foreign_tables(&mut self) -> Result<usize, NftError> {
        let found = self.read()?;
        let ours = found.table(&self.table).map(std::ptr::from_ref);
        let foreign: Vec<_> = found.tables.iter().filter(|table| ours != Some(std::ptr::from_ref(*table))).collect();
        for table in &foreign {
            let mut transaction = Transaction::new(&table.name);
            transaction.delete_table_of(table.family);
            self.commit(transaction, "remove a foreign table")?;
        }
        Ok(foreign.len())
    }

    /// Carries out the changes that `fill` puts into one transaction.
    ///
    /// # Errors
    /// [`NftError::Refused`] or [`NftError::TooLarge`]; nothing has changed then.
    pub fn change(&mut self, operation: &'static str, fill: impl FnOnce(&mut Transaction<'_>)) -> Result<(), NftError> {
        let table = self.table.clone();
        let mut transaction = Transaction::new(&table);
        fill(&mut transaction);
        self.commit(transaction, operation)
    }

    /// Adds elements of one set, or renews them when they exist: `existing` are deleted in the same transaction.
    ///
    /// # Errors
    /// [`NftError::Refused`]; `ENFILE` when the set is full.
    pub fn put_elements(
        &mut self,
        set: &str,
        existing: &[ElementImage],
        elements: &[ElementImage],
    ) -> Result<(), NftError> {
        let renewed = self.change("renew the elements", |t| {
            t.delete_elements(set, existing);
            t.add_elements(set, elements);
        });
        match renewed {
            // An element to be renewed has expired meanwhile.
            Err(error) if error.errno() == Some(libc::ENOENT) && !existing.is_empty() => {
                self.change("add the elements", |t| t.add_elements(set, elements))
            }
            other => other,
        }
    }

    /// Removes elements of one set; those that are not there are not missed.
    ///
    /// # Errors
    /// [`NftError::Refused`] for another reason.
    pub fn remove_elements(&mut self, set: &str, elements: &[ElementImage]) -> Result<(), NftError> {
        for element in elements {
            let removed = self.change("remove an element", |t| t.delete_elements(set, std::slice::from_ref(element)));
            match removed {
                Err(error) if error.errno() != Some(libc::ENOENT) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Puts a rule into the place of the one with that comment, in one transaction.
    ///
    /// # Errors
    /// [`NftError::Malformed`] when the chain has no such rule.
    pub fn replace_rule(&mut self, chain: &str, name: &str, rule: &RuleImage) -> Result<(), NftError> {
        let found = self.read()?;
        let handle = found
            .table(&self.table)
            .and_then(|table| table.chain(chain))
            .and_then(|chain| chain.rules.iter().find(|rule| rule.name().as_deref() == Some(name)))
            .map(|rule| rule.handle)
            .ok_or(NftError::Malformed("the rule to be replaced does not exist"))?;
        self.change("replace a rule", |t| t.replace_rule(chain, handle, rule))
    }

    /// Lets a quota's bytes pass once more, from now on. This is no change of the rules.
    ///
    /// # Errors
    /// [`NftError::Refused`], `ENOENT` when there is no such quota.
    pub fn reset_quota(&mut self, name: &str) -> Result<(), NftError> {
        dump::reset_quota(&mut self.socket, &self.table, name)
    }

    /// The quotas of the table.
    ///
    /// # Errors
    /// [`NftError::Refused`].
    pub fn quotas(&mut self) -> Result<Vec<QuotaImage>, NftError> {
        dump::quotas(&mut self.socket, &self.table)
    }

    /// The elements of one set.
    ///
    /// # Errors
    /// [`NftError::Refused`].
    pub fn elements(&mut self, set: &str) -> Result<Vec<ElementImage>, NftError> {
        dump::set_elements(&mut self.socket, &self.table, set)
    }

    fn commit(&mut self, transaction: Transaction<'_>, operation: &'static str) -> Result<(), NftError> {
        if transaction.is_empty() {
            return Ok(());
        }
        let (bytes, limit) = (transaction.len(), self.transaction_limit);
        if bytes > limit {
            return Err(NftError::TooLarge { bytes, limit });
        }
        transaction.commit(&self.socket, operation)?;
        self.generation = next(self.generation);
        Ok(())
    }
}

/// The kernel skips 0 when it counts generations.
fn next(generation: u32) -> u32 {
    generation.wrapping_add(1).max(1)
}

/// Splits off what a first transaction of `limit` bytes cannot hold, from expiring sets only.
fn split(image: &Image, limit: usize) -> (Image, Vec<(String, Vec<ElementImage>)>) {
    let mut measured = image.clone();
    measured.sets.iter_mut().filter(|set| set.is_dynamic()).for_each(|set| set.elements.clear());
    let mut transaction = Transaction::new(&image.name);
    transaction.create(&measured);
    let mut room = limit.saturating_sub(transaction.len() + RESERVE);
    let mut later = Vec::new();
    for (set, full) in measured.sets.iter_mut().zip(&image.sets).filter(|(set, _)| set.is_dynamic()) {
        for element in &full.elements {
            let size = element_size(element);
            if let Some(left) = room.checked_sub(size) {
                room = left;
                set.elements.push(element.clone());
            } else {
                enqueue(&mut later, &set.name, element, limit);
            }
        }
    }
    (measured, later)
}

fn enqueue(later: &mut Vec<(String, Vec<ElementImage>)>, set: &str, element: &ElementImage, limit: usize) {
    let most = (limit / 2 / element_size(element)).max(1);
    match later.last_mut() {
        Some((name, elements)) if name == set && elements.len() < most => elements.push(element.clone()),
        _ => later.push((set.to_owned(), vec![element.clone()])),
    }
}
