//! Reads every table of a network namespace into [`Image`]s.
//!
//! A dump takes several requests. It counts only when the generation before and after is the same.

use crate::attribute::Attributes;
use crate::constant as k;
use crate::constant::{attribute as a, message as m};
use crate::expression::Expression;
use crate::fault::NftError;
use crate::image::{BaseImage, ChainImage, ElementImage, Image, QuotaImage, RuleImage, SetImage};
use crate::message::{self, append_netfilter, nftables};
use crate::socket::Netlink;

const ATTEMPTS: usize = 8;

/// What a network namespace has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// The number of the last change.
    pub generation: u32,
    /// Every table of every family.
    pub tables: Vec<Image>,
}

impl Ruleset {
    /// The `inet` table of that name.
    pub fn table(&self, name: &str) -> Option<&Image> {
        self.tables.iter().find(|table| table.family == k::FAMILY_INET && table.name == name)
    }
}

/// The number of the last change of the namespace's rules.
///
/// # Errors
/// [`NftError::Refused`].
pub fn generation(socket: &mut Netlink) -> Result<u32, NftError> {
    let mut found = None;
    let flags = k::NLM_F_REQUEST | k::NLM_F_ACK;
    query(socket, (m::GET_GENERATION, flags), k::FAMILY_UNSPECIFIED, "read the generation", &[], |_, list| {
        found = found.or(list.be32(a::GENERATION_ID));
        Ok(())
    })?;
    found.ok_or(NftError::Malformed("no generation"))
}

/// Reads all tables with all they have.
///
/// # Errors
/// [`NftError::Refused`], or [`NftError::Unstable`] while others keep changing the rules.
pub fn ruleset(socket: &mut Netlink) -> Result<Ruleset, NftError> {
    for _ in 0..ATTEMPTS {
        let before = generation(socket)?;
        let mut tables = Vec::new();
        let read = tables_of(socket, &mut tables).and_then(|steady| Ok(steady && fill(socket, &mut tables)?));
        match read {
            Ok(true) if generation(socket)? == before => return Ok(Ruleset { generation: before, tables }),
            // A set that was deleted between two requests.
            Err(error) if error.errno() != Some(libc::ENOENT) => return Err(error),
            _ => {}
        }
    }
    Err(NftError::Unstable(ATTEMPTS))
}

/// True when the namespace has the `inet` table of that name.
///
/// # Errors
/// [`NftError::Refused`].
pub fn has_table(socket: &mut Netlink, name: &str) -> Result<bool, NftError> {
    let mut tables = Vec::new();
    tables_of(socket, &mut tables)?;
    Ok(tables.iter().any(|table| table.family == k::FAMILY_INET && table.name == name))
}

fn fill(socket: &mut Netlink, tables: &mut [Image]) -> Result<bool, NftError> {
    Ok(chains(socket, tables)? && rules(socket, tables)? && sets(socket, tables)? && objects(socket, tables)?)
}

/// Sends a dump or get request; `each` gets the family and the attributes of every answer.
fn query(
    socket: &mut Netlink,
    (number, flags): (u16, u16),
    family: u8,
    operation: &'static str,
    named: &[(u16, &str)],
    mut each: impl FnMut(u8, Attributes<'_>) -> Result<(), NftError>,
) -> Result<bool, NftError> {
    let sequence = socket.next_sequence();
    let mut buffer = Vec::new();
    append_netfilter(&mut buffer, (nftables(number), flags, sequence), (family, 0), |w| {
        named.iter().for_each(|(kind, value)| w.text(*kind, value));
    });
    socket.collect(&buffer, sequence, operation, |message: &message::Message<'_>| {
        let (family, bytes) = message.payload();
        each(family, Attributes::parse(bytes)?)
    })
}

const DUMP: u16 = k::NLM_F_REQUEST | k::NLM_F_DUMP;

fn tables_of(socket: &mut Netlink, tables: &mut Vec<Image>) -> Result<bool, NftError> {
    query(socket, (m::GET_TABLE, DUMP), k::FAMILY_UNSPECIFIED, "read the tables", &[], |family, list| {
        tables.push(Image {
            family,
            name: list.text(a::TABLE_NAME).unwrap_or_default(),
            flags: list.be32(a::TABLE_FLAGS).unwrap_or_default(),
            userdata: list.find(a::TABLE_USERDATA).unwrap_or_default().to_vec(),
            ..Image::default()
        });
        Ok(())
    })
}

fn owner<'t>(tables: &'t mut [Image], family: u8, list: Attributes<'_>, kind: u16) -> Option<&'t mut Image> {
    let name = list.text(kind)?;
    tables.iter_mut().find(|table| table.family == family && table.name == name)
}

fn chains(socket: &mut Netlink, tables: &mut [Image]) -> Result<bool, NftError> {
    query(socket, (m::GET_CHAIN, DUMP), k::FAMILY_UNSPECIFIED, "read the chains", &[], |family, list| {
        let Some(table) = owner(tables, family, list, a::CHAIN_TABLE) else { return Ok(()) };
        let hook = list.nested(a::CHAIN_HOOK)?;
        let base = hook.be32(a::HOOK_NUMBER).map(|number| BaseImage {
            kind: list.text(a::CHAIN_TYPE).unwrap_or_default(),
            hook: number,
            priority: hook.be32(a::HOOK_PRIORITY).unwrap_or_default().cast_signed(),
            policy: list.be32(a::CHAIN_POLICY).unwrap_or_default(),
        });
        let name = list.text(a::CHAIN_NAME).unwrap_or_default();
        table.chains.push(ChainImage { name, base, rules: Vec::new() });
        Ok(())
    })
}

fn rules(socket: &mut Netlink, tables: &mut [Image]) -> Result<bool, NftError> {
    query(socket, (m::GET_RULE, DUMP), k::FAMILY_UNSPECIFIED, "read the rules", &[], |family, list| {
        let Some(table) = owner(tables, family, list, a::RULE_TABLE) else { return Ok(()) };
        let name = list.text(a::RULE_CHAIN).unwrap_or_default();
        let Some(chain) = table.chains.iter_mut().find(|chain| chain.name == name) else { return Ok(()) };
        chain.rules.push(read_rule(list)?);
        Ok(())
    })
}

fn read_rule(list: Attributes<'_>) -> Result<RuleImage, NftError> {
    let steps = list.nested(a::RULE_EXPRESSIONS)?.map(|(_, bytes)| Expression::decode(bytes));
    Ok(RuleImage {
        handle: list.be64(a::RULE_HANDLE).unwrap_or_default(),
        expressions: steps.collect::<Result<_, _>>()?,
        userdata: list.find(a::RULE_USERDATA).unwrap_or_default().to_vec(),
    })
}

fn sets(socket: &mut Netlink, tables: &mut [Image]) -> Result<bool, NftError> {
    let mut steady = query(socket, (m::GET_SET, DUMP), k::FAMILY_UNSPECIFIED, "read the sets", &[], |family, list| {
        if let Some(table) = owner(tables, family, list, a::SET_TABLE) {
            table.sets.push(read_set(list)?);
        }
        Ok(())
    })?;
    for table in tables {
        let (family, name) = (table.family, table.name.clone());
        for set in &mut table.sets {
            set.elements = elements(socket, family, &name, &set.name, &mut steady)?;
        }
    }
    Ok(steady)
}

fn read_set(list: Attributes<'_>) -> Result<SetImage, NftError> {
    Ok(SetImage {
        name: list.text(a::SET_NAME).unwrap_or_default(),
        flags: list.be32(a::SET_FLAGS).unwrap_or_default(),
        key_type: list.be32(a::SET_KEY_TYPE).unwrap_or_default(),
        key_length: list.be32(a::SET_KEY_LENGTH).unwrap_or_default(),
        timeout: list.be64(a::SET_TIMEOUT).unwrap_or_default(),
        size: list.nested(a::SET_DESCRIPTION)?.be32(a::SET_DESCRIPTION_SIZE).unwrap_or_default(),
        object_type: list.be32(a::SET_OBJECT_TYPE).unwrap_or_default(),
        elements: Vec::new(),
    })
}

/// Reads the elements of one set of an `inet` table.
///
/// # Errors
/// [`NftError::Refused`], `ENOENT` when there is no such set.
pub fn set_elements(socket: &mut Netlink, table: &str, set: &str) -> Result<Vec<ElementImage>, NftError> {
    let mut steady = true;
    elements(socket, k::FAMILY_INET, table, set, &mut steady)
}

fn elements(
    socket: &mut Netlink,
    family: u8,
    table: &str,
    set: &str,
    steady: &mut bool,
) -> Result<Vec<ElementImage>, NftError> {
    let mut found = Vec::new();
    let named = [(a::ELEMENTS_TABLE, table), (a::ELEMENTS_SET, set)];
    *steady &= query(socket, (m::GET_ELEMENT, DUMP), family, "read the elements of a set", &named, |_, list| {
        for (_, bytes) in list.nested(a::ELEMENTS_LIST)? {
            found.push(read_element(Attributes::parse(bytes)?)?);
        }
        Ok(())
    })?;
    Ok(found)
}

fn read_element(list: Attributes<'_>) -> Result<ElementImage, NftError> {
    Ok(ElementImage {
        key: list.nested(a::ELEMENT_KEY)?.find(a::DATA_VALUE).unwrap_or_default().to_vec(),
        flags: list.be32(a::ELEMENT_FLAGS).unwrap_or_default(),
        timeout: list.be64(a::ELEMENT_TIMEOUT),
        expires: list.be64(a::ELEMENT_EXPIRATION),
        userdata: list.find(a::ELEMENT_USERDATA).unwrap_or_default().to_vec(),
        object: list.text(a::ELEMENT_OBJECT),
        foreign: list.find(a::ELEMENT_DATA).is_some(),
    })
}

fn objects(socket: &mut Netlink, tables: &mut [Image]) -> Result<bool, NftError> {
    query(socket, (m::GET_OBJECT, DUMP), k::FAMILY_UNSPECIFIED, "read the quotas", &[], |family, list| {
        let Some(table) = owner(tables, family, list, a::OBJECT_TABLE) else { return Ok(()) };
        let name = list.text(a::OBJECT_NAME).unwrap_or_default();
        if list.be32(a::OBJECT_TYPE) != Some(k::OBJECT_QUOTA) {
            table.foreign_objects.push(name);
            return Ok(());
        }
        let data = list.nested(a::OBJECT_DATA)?;
        table.quotas.push(QuotaImage {
            name,
            bytes: data.be64(a::QUOTA_BYTES).unwrap_or_default(),
            flags: data.be32(a::QUOTA_FLAGS).unwrap_or_default(),
            // Never more than the quota, however much has been refused.
            consumed: data.be64(a::QUOTA_CONSUMED).unwrap_or_default(),
        });
        Ok(())
    })
}

/// Reads the quotas of an `inet` table.
///
/// # Errors
/// [`NftError::Refused`].
pub fn quotas(socket: &mut Netlink, table: &str) -> Result<Vec<QuotaImage>, NftError> {
    let mut tables = [Image { family: k::FAMILY_INET, name: table.to_owned(), ..Image::default() }];
    objects(socket, &mut tables)?;
    Ok(std::mem::take(&mut tables[0].quotas))
}

/// Sets what a quota of an `inet` table has consumed to nothing.
///
/// # Errors
/// [`NftError::Refused`].
pub fn reset_quota(socket: &mut Netlink, table: &str, name: &str) -> Result<(), NftError> {
    let sequence = socket.next_sequence();
    let mut buffer = Vec::new();
    let header = (nftables(m::GET_OBJECT_RESET), k::NLM_F_REQUEST | k::NLM_F_ACK, sequence);
    append_netfilter(&mut buffer, header, (k::FAMILY_INET, 0), |w| {
        w.text(a::OBJECT_TABLE, table);
        w.text(a::OBJECT_NAME, name);
        w.be32(a::OBJECT_TYPE, k::OBJECT_QUOTA);
    });
    socket.collect(&buffer, sequence, "reset a quota", |_| Ok(())).map(drop)
}

/// Reads what a byte string claims to be messages of a dump; how many there are.
///
/// # Errors
/// [`NftError::Malformed`].
pub fn decode(bytes: &[u8]) -> Result<usize, NftError> {
    const RULE: u16 = nftables(m::NEW_RULE);
    const SET: u16 = nftables(m::NEW_SET);
    const ELEMENT: u16 = nftables(m::NEW_ELEMENT);
    let mut count = 0;
    for message in message::split(bytes) {
        let list = Attributes::parse(message.payload().1)?;
        match message.kind {
            RULE => read_rule(list).map(drop)?,
            SET => read_set(list).map(drop)?,
            ELEMENT => {
                for (_, element) in list.nested(a::ELEMENTS_LIST)? {
                    read_element(Attributes::parse(element)?)?;
                }
            }
            _ => {}
        }
        count += 1;
    }
    Ok(count)
}
