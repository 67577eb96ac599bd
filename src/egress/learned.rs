//! Addresses that names opened: what the kernel's sets hold, and which names each address stands for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use terok_nft::image::MAX_COMMENT;
use terok_nft::{Element, ElementImage, Family, Range, SetKind};
use terok_shield_policy::Name;
use terok_shield_policy::ruleset::{LEARN_SIZE, LEARN_TIMEOUT};

/// Names that one address remembers.
const MAX_NAMES: usize = 16;

#[derive(Debug, Clone)]
struct Entry {
    names: Vec<Name>,
    until: Instant,
}

/// The addresses that are open.
#[derive(Debug, Default)]
pub struct Learned {
    entries: HashMap<IpAddr, Entry>,
}

/// What has to be done in the kernel for an address.
#[derive(Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it is open for long enough, under this name too.
    Nothing,
    /// It has to be added, or renewed when it exists.
    Put {
        /// True when the kernel has it already.
        exists: bool,
    },
}

impl Learned {
    /// What it takes to open an address for a name.
    pub fn need(&self, address: IpAddr, name: &Name, now: Instant) -> Need {
        let Some(entry) = self.entries.get(&address).filter(|entry| entry.until > now) else {
            return Need::Put { exists: false };
        };
        let fresh = entry.until.saturating_duration_since(now) > LEARN_TIMEOUT / 2;
        if fresh && entry.names.contains(name) { Need::Nothing } else { Need::Put { exists: true } }
    }

    /// Notes that the kernel has opened an address for a name.
    pub fn opened(&mut self, address: IpAddr, name: &Name, now: Instant) {
        let entry = self.entries.entry(address).or_insert_with(|| Entry { names: Vec::new(), until: now });
        entry.until = now + LEARN_TIMEOUT;
        entry.names.retain(|known| known != name);
        entry.names.push(name.clone());
        if entry.names.len() > MAX_NAMES {
            entry.names.remove(0);
        }
    }

    /// Takes over what the kernel holds.
    pub fn restore(&mut self, element: &ElementImage, now: Instant) {
        let (Some(address), Some(comment)) = (element.address(), element.comment()) else { return };
        if let Ok(name) = Name::parse(&comment) {
            let left = Duration::from_millis(element.expires.unwrap_or_default());
            self.entries.insert(address, Entry { names: vec![name], until: now + left });
        }
    }

    /// The names that opened an address, the newest first.
    pub fn names_of(&self, address: IpAddr) -> Vec<Name> {
        let now = Instant::now();
        let entry = self.entries.get(&address).filter(|entry| entry.until > now);
        entry.map(|entry| entry.names.iter().rev().cloned().collect()).unwrap_or_default()
    }

    /// Forgets names that `keep` does not want, and addresses that have no name left; these addresses.
    pub fn retain(&mut self, keep: impl Fn(&Name) -> bool, now: Instant) -> Vec<IpAddr> {
        let mut closed = Vec::new();
        self.entries.retain(|address, entry| {
            entry.names.retain(&keep);
            let stays = !entry.names.is_empty() && entry.until > now;
            if !stays {
                closed.push(*address);
            }
            stays
        });
        closed
    }

    /// The address of a family that ends first, when the set is full.
    pub fn oldest(&self, family: Family) -> Option<IpAddr> {
        let of_family = self.entries.iter().filter(|(address, _)| Family::of(**address) == family);
        of_family.min_by_key(|(_, entry)| entry.until).map(|(address, _)| *address)
    }

    /// Forgets an address.
    pub fn remove(&mut self, address: IpAddr) {
        self.entries.remove(&address);
    }

    /// All open addresses as elements, with the rest of their life.
    pub fn elements(&self, now: Instant) -> Vec<Element> {
        let open = self.entries.iter().filter(|(_, entry)| entry.until > now);
        let element = |(address, entry): (&IpAddr, &Entry)| {
            let name = entry.names.last()?;
            let expires = Some(entry.until.saturating_duration_since(now));
            Some(Element { expires, ..Element::named(*address, &comment(name)) })
        };
        open.filter_map(element).collect()
    }
}

/// The kernel's element for an address.
pub fn element(address: IpAddr, name: &Name) -> ElementImage {
    let kind = SetKind::Timed { timeout: LEARN_TIMEOUT, size: LEARN_SIZE };
    let element = Element { range: Range::single(address), ..Element::named(address, &comment(name)) };
    ElementImage::of(&element, kind).remove(0)
}

/// A name as comment: where it is too long, its end from a dot on.
fn comment(name: &Name) -> String {
    let mut text = name.as_str();
    while text.len() > MAX_COMMENT {
        match text.split_once('.') {
            Some((_, rest)) => text = rest,
            None => break,
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn address_is_renewed_when_half_of_its_time_is_over_or_a_name_is_new() {
        let mut learned = Learned::default();
        let (at, now) = ("198.51.100.7".parse().unwrap(), Instant::now());
        assert_eq!(learned.need(at, &name("a.test"), now), Need::Put { exists: false });
        learned.opened(at, &name("a.test"), now);
        assert_eq!(learned.need(at, &name("a.test"), now), Need::Nothing);
        assert_eq!(learned.need(at, &name("b.test"), now), Need::Put { exists: true });
        let later = now + LEARN_TIMEOUT * 2 / 3;
        assert_eq!(learned.need(at, &name("a.test"), later), Need::Put { exists: true });
        assert_eq!(learned.need(at, &name("a.test"), now + LEARN_TIMEOUT), Need::Put { exists: false });
    }

    #[test]
    fn address_is_closed_when_its_last_name_goes() {
        let mut learned = Learned::default();
        let (at, now) = ("198.51.100.7".parse().unwrap(), Instant::now());
        learned.opened(at, &name("a.test"), now);
        learned.opened(at, &name("b.test"), now);
        assert!(learned.retain(|known| known.as_str() != "a.test", now).is_empty());
        assert_eq!(learned.names_of(at), [name("b.test")]);
        assert_eq!(learned.retain(|_| false, now), [at]);
        assert!(learned.names_of(at).is_empty());
    }

    #[test]
    fn long_name_keeps_its_end_as_comment() {
        let long = name(&format!("{}.{}.example.test", "a".repeat(60), "b".repeat(60)));
        assert_eq!(comment(&long), format!("{}.example.test", "b".repeat(60)));
        assert_eq!(comment(&name("a.test")), "a.test");
    }
}
