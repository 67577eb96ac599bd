//! Ranges of addresses, and merging that neither widens nor narrows what a list of ranges covers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::Family;

/// Addresses of one family from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    first: IpAddr,
    last: IpAddr,
}

impl Range {
    /// A range; `None` when the ends are of two families or in the wrong order.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (Family::of(first) == Family::of(last) && first <= last).then_some(Self { first, last })
    }

    /// One address.
    pub fn single(address: IpAddr) -> Self {
        Self { first: address, last: address }
    }

    /// The network of `address` with `length` bits; host bits are cut off. `None` when `length` is too large.
    pub fn prefix(address: IpAddr, length: u8) -> Option<Self> {
        let bits = width(Family::of(address));
        let free = bits.checked_sub(u32::from(length))?;
        let mask = if free == 128 { u128::MAX } else { (1u128 << free) - 1 };
        let number = number(address);
        let build = |value| from_number(Family::of(address), value);
        Some(Self { first: build(number & !mask), last: build(number | mask) })
    }

    /// The first address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address.
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// The family.
    pub fn family(&self) -> Family {
        Family::of(self.first)
    }

    /// True when the address lies inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family() && self.first <= address && address <= self.last
    }

    /// True when the two have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family() == other.family() && self.first <= other.last && other.first <= self.last
    }

    /// The address after the last one; `None` at the end of the family.
    pub fn following(&self) -> Option<IpAddr> {
        let end = number(self.last);
        let highest = if self.family() == Family::V4 { u128::from(u32::MAX) } else { u128::MAX };
        (end < highest).then(|| from_number(self.family(), end + 1))
    }
}

/// `10.0.0.0/8` where the range is a network, `10.0.0.1` for one address, `10.0.0.1-10.0.0.9` otherwise.
impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first);
        }
        let differing = number(self.first) ^ number(self.last);
        let free = 128 - differing.leading_zeros();
        let length = u8::try_from(width(self.family()).saturating_sub(free)).unwrap_or_default();
        if Self::prefix(self.first, length) == Some(*self) {
            return write!(f, "{}/{length}", self.first);
        }
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Sorts ranges and joins those that overlap or touch.
pub fn merge(ranges: impl IntoIterator<Item = Range>) -> Vec<Range> {
    let mut sorted: Vec<Range> = ranges.into_iter().collect();
    sorted.sort_unstable();
    let mut merged: Vec<Range> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(open) if open.overlaps(&range) || open.following() == Some(range.first) => {
                open.last = open.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// The bytes of an address, as a packet has them.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The address that the bytes of a packet or set key are.
pub fn from_octets(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

fn width(family: Family) -> u32 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn from_number(family: Family, value: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from(u32::try_from(value).unwrap_or(u32::MAX)).into(),
        Family::V6 => Ipv6Addr::from(value).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Range {
        let (address, length) = text.split_once('/').unwrap();
        Range::prefix(address.parse().unwrap(), length.parse().unwrap()).unwrap()
    }

    #[test]
    fn prefix_cuts_host_bits_and_refuses_lengths_beyond_the_family() {
        assert_eq!(prefix("10.0.0.5/8").to_string(), "10.0.0.0/8");
        assert_eq!(prefix("0.0.0.0/0").to_string(), "0.0.0.0/0");
        assert_eq!(prefix("::/0").to_string(), "::/0");
        assert_eq!(prefix("2001:db8::1/128").to_string(), "2001:db8::1");
        assert!(Range::prefix("1.2.3.4".parse().unwrap(), 33).is_none());
        assert!(Range::new("1.2.3.4".parse().unwrap(), "::1".parse().unwrap()).is_none());
    }

    #[test]
    fn merging_joins_overlaps_and_neighbours_and_keeps_gaps() {
        let merged = merge(["10.1.2.3/32", "10.0.0.0/8", "11.0.0.0/9", "13.0.0.0/8", "::/1", "8000::/1"].map(prefix));
        let texts: Vec<String> = merged.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.0.0.0-11.127.255.255", "13.0.0.0/8", "::/0"]);
        assert_eq!(merged[2].following(), None);
        assert_eq!(prefix("255.255.255.255/32").following(), None);
    }

    #[test]
    fn merging_never_widens_random_lists() {
        let mut seed = 7u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 16
        };
        for _ in 0..200 {
            let ranges: Vec<Range> = (0..8)
                .map(|_| {
                    let start = next() % 64;
                    let end = start + next() % 8;
                    Range::new(Ipv4Addr::from(start).into(), Ipv4Addr::from(end).into()).unwrap()
                })
                .collect();
            let merged = merge(ranges.clone());
            for address in (0..80u32).map(|n| IpAddr::from(Ipv4Addr::from(n))) {
                let before = ranges.iter().any(|range| range.contains(address));
                assert_eq!(merged.iter().filter(|range| range.contains(address)).count(), usize::from(before));
            }
        }
    }
}
