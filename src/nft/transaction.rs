//! A transaction: messages that the kernel applies all together or not at all.
//!
//! The acknowledgement is asked of the last message alone. When it arrives, the next packet already sees the change.

use crate::attribute::{Writer, aligned};
use crate::constant as k;
use crate::constant::{attribute as a, message as m};
use crate::fault::NftError;
use crate::image::{ChainImage, ElementImage, Image, QuotaImage, RuleImage, SetImage};
use crate::message::{GENERAL, HEADER, append_netfilter, nftables};
use crate::socket::Netlink;

/// Elements of one message stay below what an attribute's length can describe.
const ELEMENTS_PER_MESSAGE: usize = 48 * 1024;

/// Messages that are applied together.
#[derive(Debug)]
pub struct Transaction<'a> {
    table: &'a str,
    buffer: Vec<u8>,
    sequence: u32,
    last: Option<(usize, u32)>,
    set_ids: Vec<(String, u32)>,
}

impl<'a> Transaction<'a> {
    /// An empty transaction on the `inet` table of that name.
    pub fn new(table: &'a str) -> Self {
        let mut buffer = Vec::new();
        append_netfilter(
            &mut buffer,
            (k::BATCH_BEGIN, k::NLM_F_REQUEST, 0),
            (k::FAMILY_UNSPECIFIED, k::SUBSYSTEM_NFTABLES),
            |_| {},
        );
        Self { table, buffer, sequence: 0, last: None, set_ids: Vec::new() }
    }

    /// The messages so far, without the one that ends the transaction.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// True while nothing would change.
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// Creates the table, its quotas, sets, chains and rules. The table must not exist, or be deleted before.
    pub fn create(&mut self, image: &Image) {
        self.push(m::NEW_TABLE, k::NLM_F_CREATE, |w| {
            w.text(a::TABLE_NAME, &image.name);
            w.be32(a::TABLE_FLAGS, image.flags);
            if !image.userdata.is_empty() {
                w.bytes(a::TABLE_USERDATA, &image.userdata);
            }
        });
        image.quotas.iter().for_each(|quota| self.create_quota(quota));
        for set in &image.sets {
            self.create_set(set);
        }
        for chain in &image.chains {
            self.create_chain(chain);
            chain.rules.iter().for_each(|rule| self.append_rule(&chain.name, rule));
        }
    }

    /// Deletes the table with all it has, whether it exists or not.
    pub fn delete_table(&mut self) {
        let table = self.table;
        self.push(m::NEW_TABLE, k::NLM_F_CREATE, |w| w.text(a::TABLE_NAME, table));
        self.push(m::DELETE_TABLE, 0, |w| w.text(a::TABLE_NAME, table));
    }

    /// Deletes the table of that family, which must exist.
    pub fn delete_table_of(&mut self, family: u8) {
        let table = self.table;
        self.push_to(family, m::DELETE_TABLE, 0, |w| w.text(a::TABLE_NAME, table));
    }

    fn create_set(&mut self, set: &SetImage) {
        let id = u32::try_from(self.set_ids.len() + 1).unwrap_or(u32::MAX);
        self.set_ids.push((set.name.clone(), id));
        let table = self.table;
        self.push(m::NEW_SET, k::NLM_F_CREATE | k::NLM_F_EXCL, |w| {
            w.text(a::SET_TABLE, table);
            w.text(a::SET_NAME, &set.name);
            w.be32(a::SET_FLAGS, set.flags);
            w.be32(a::SET_KEY_TYPE, set.key_type);
            w.be32(a::SET_KEY_LENGTH, set.key_length);
            w.be32(a::SET_ID, id);
            if set.timeout > 0 {
                w.be64(a::SET_TIMEOUT, set.timeout);
            }
            if set.size > 0 {
                w.nested(a::SET_DESCRIPTION, |d| d.be32(a::SET_DESCRIPTION_SIZE, set.size));
            }
            if set.object_type > 0 {
                w.be32(a::SET_OBJECT_TYPE, set.object_type);
            }
        });
        self.add_elements(&set.name, &set.elements);
    }

    fn create_chain(&mut self, chain: &ChainImage) {
        let table = self.table;
        self.push(m::NEW_CHAIN, k::NLM_F_CREATE, |w| {
            w.text(a::CHAIN_TABLE, table);
            w.text(a::CHAIN_NAME, &chain.name);
            if let Some(base) = &chain.base {
                w.nested(a::CHAIN_HOOK, |hook| {
                    hook.be32(a::HOOK_NUMBER, base.hook);
                    hook.bytes(a::HOOK_PRIORITY, &base.priority.to_be_bytes());
                });
                w.be32(a::CHAIN_POLICY, base.policy);
                w.text(a::CHAIN_TYPE, &base.kind);
            }
        });
    }

    /// Appends a rule to a chain.
    pub fn append_rule(&mut self, chain: &str, rule: &RuleImage) {
        self.rule(k::NLM_F_CREATE | k::NLM_F_APPEND, chain, rule, None);
    }

    /// Puts a rule into the place of the one with that handle.
    pub fn replace_rule(&mut self, chain: &str, handle: u64, rule: &RuleImage) {
        self.rule(k::NLM_F_REPLACE, chain, rule, Some(handle));
    }

    fn rule(&mut self, flags: u16, chain: &str, rule: &RuleImage, handle: Option<u64>) {
        let (table, ids) = (self.table, std::mem::take(&mut self.set_ids));
        self.push(m::NEW_RULE, flags, |w| {
            w.text(a::RULE_TABLE, table);
            w.text(a::RULE_CHAIN, chain);
            if let Some(handle) = handle {
                w.be64(a::RULE_HANDLE, handle);
            }
            w.nested(a::RULE_EXPRESSIONS, |list| {
                for expression in &rule.expressions {
                    let id = |name: &str| ids.iter().find(|(known, _)| known == name).map(|(_, id)| *id);
                    list.nested(a::LIST_ELEMENT, |element| expression.encode(element, id));
                }
            });
            if !rule.userdata.is_empty() {
                w.bytes(a::RULE_USERDATA, &rule.userdata);
            }
        });
        self.set_ids = ids;
    }

    /// Adds elements to a set.
    pub fn add_elements(&mut self, set: &str, elements: &[ElementImage]) {
        self.elements(m::NEW_ELEMENT, k::NLM_F_CREATE, set, elements);
    }

    /// Removes elements from a set; one that is not there fails the whole transaction.
    pub fn delete_elements(&mut self, set: &str, elements: &[ElementImage]) {
        self.elements(m::DELETE_ELEMENT, 0, set, elements);
    }

    fn elements(&mut self, number: u16, flags: u16, set: &str, elements: &[ElementImage]) {
        let mut rest = elements;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest.iter().take_while(|element| {
                bytes += element_size(element);
                bytes <= ELEMENTS_PER_MESSAGE
            });
            let (now, later) = rest.split_at(fitting.count().max(1));
            rest = later;
            let table = self.table;
            let id = self.set_ids.iter().find(|(known, _)| known == set).map(|(_, id)| *id);
            self.push(number, flags, |w| {
                w.text(a::ELEMENTS_TABLE, table);
                w.text(a::ELEMENTS_SET, set);
                if let Some(id) = id {
                    w.be32(a::ELEMENTS_SET_ID, id);
                }
                w.nested(a::ELEMENTS_LIST, |list| {
                    now.iter().for_each(|e| list.nested(a::LIST_ELEMENT, |w| write_element(w, e)));
                });
            });
        }
    }

    fn create_quota(&mut self, quota: &QuotaImage) {
        let table = self.table;
        self.push(m::NEW_OBJECT, k::NLM_F_CREATE, |w| {
            w.text(a::OBJECT_TABLE, table);
            w.text(a::OBJECT_NAME, &quota.name);
            w.be32(a::OBJECT_TYPE, k::OBJECT_QUOTA);
            w.nested(a::OBJECT_DATA, |data| {
                data.be64(a::QUOTA_BYTES, quota.bytes);
                data.be32(a::QUOTA_FLAGS, quota.flags);
            });
        });
    }

    fn push(&mut self, number: u16, flags: u16, fill: impl FnOnce(&mut Writer)) {
        self.push_to(k::FAMILY_INET, number, flags, fill);
    }

    fn push_to(&mut self, family: u8, number: u16, flags: u16, fill: impl FnOnce(&mut Writer)) {
        self.sequence += 1;
        self.last = Some((self.buffer.len(), self.sequence));
        let header = (nftables(number), k::NLM_F_REQUEST | flags, self.sequence);
        append_netfilter(&mut self.buffer, header, (family, 0), fill);
    }

    /// Sends the transaction and waits until it is in force; an empty one does nothing.
    ///
    /// # Errors
    /// [`NftError::Refused`] with the kernel's first error, after which nothing has changed; [`NftError::TooLarge`].
    pub fn commit(mut self, socket: &Netlink, operation: &'static str) -> Result<(), NftError> {
        let Some((at, last)) = self.last else { return Ok(()) };
        let flags = u16::from_ne_bytes([self.buffer[at + 6], self.buffer[at + 7]]) | k::NLM_F_ACK;
        self.buffer[at + 6..at + 8].copy_from_slice(&flags.to_ne_bytes());
        append_netfilter(
            &mut self.buffer,
            (k::BATCH_END, k::NLM_F_REQUEST, 0),
            (k::FAMILY_UNSPECIFIED, k::SUBSYSTEM_NFTABLES),
            |_| {},
        );
        socket.acknowledged(&self.buffer, last, operation)
    }
}

/// Bytes that one element adds to a transaction, at most.
pub fn element_size(element: &ElementImage) -> usize {
    let object = element.object.as_ref().map_or(0, |name| 8 + name.len());
    HEADER + GENERAL + aligned(element.key.len()) + aligned(element.userdata.len()) + aligned(object) + 24
}

fn write_element(w: &mut Writer, element: &ElementImage) {
    w.nested(a::ELEMENT_KEY, |key| key.bytes(a::DATA_VALUE, &element.key));
    if element.flags > 0 {
        w.be32(a::ELEMENT_FLAGS, element.flags);
    }
    if let Some(timeout) = element.timeout {
        w.be64(a::ELEMENT_TIMEOUT, timeout);
    }
    if !element.userdata.is_empty() {
        w.bytes(a::ELEMENT_USERDATA, &element.userdata);
    }
    if let Some(object) = &element.object {
        w.text(a::ELEMENT_OBJECT, object);
    }
}
