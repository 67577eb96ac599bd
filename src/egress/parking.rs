//! Parking addresses: stand-ins for names about which nothing is decided.
//!
//! A name keeps its address for as long as it is known, and an address has one name at a time. The oldest names go when
//! there are too many.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, Ipv4Addr};

use terok_shield_policy::Name;
use terok_shield_policy::address::{PARKING_SIZE, parking};

/// The most names at once.
pub const MAX_PARKED: usize = 4096;

/// The table of parked names.
#[derive(Debug, Default)]
pub struct Parking {
    by_name: HashMap<Name, Ipv4Addr>,
    by_address: HashMap<Ipv4Addr, Name>,
    order: VecDeque<Name>,
}

impl Parking {
    /// The address of a name; a new one when it has none.
    pub fn park(&mut self, name: &Name) -> Ipv4Addr {
        if let Some(address) = self.by_name.get(name) {
            return *address;
        }
        while self.by_name.len() >= MAX_PARKED {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(address) = self.by_name.remove(&oldest) {
                self.by_address.remove(&address);
            }
        }
        let address = self.free_address(name);
        self.by_name.insert(name.clone(), address);
        self.by_address.insert(address, name.clone());
        self.order.push_back(name.clone());
        address
    }

    fn free_address(&self, name: &Name) -> Ipv4Addr {
        let mut hasher = DefaultHasher::new();
        name.as_str().hash(&mut hasher);
        let first = u32::try_from(hasher.finish() % u64::from(PARKING_SIZE)).unwrap_or_default();
        // There are far more addresses than names. The network's own first address is never handed out.
        let all = (0..PARKING_SIZE).map(|step| (first + step) % PARKING_SIZE).filter(|number| *number != 0);
        let mut free = all.map(parking).filter(|address| !self.by_address.contains_key(address));
        free.next().unwrap_or_else(|| parking(first))
    }

    /// The name that an address stands for.
    pub fn name_of(&self, address: IpAddr) -> Option<&Name> {
        match address {
            IpAddr::V4(address) => self.by_address.get(&address),
            IpAddr::V6(_) => None,
        }
    }

    /// Takes over an address that a worker before this one handed out.
    pub fn restore(&mut self, name: &Name, address: Ipv4Addr) {
        if !self.by_name.contains_key(name) && !self.by_address.contains_key(&address) {
            self.by_name.insert(name.clone(), address);
            self.by_address.insert(address, name.clone());
            self.order.push_back(name.clone());
        }
    }

    /// Every name with its address.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, Ipv4Addr)> {
        self.by_name.iter().map(|(name, address)| (name, *address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use terok_shield_policy::address::is_parking;

    fn name(number: usize) -> Name {
        Name::parse(&format!("h{number}.test")).unwrap()
    }

    #[test]
    fn name_keeps_its_address_and_shares_it_with_none() {
        let mut parking = Parking::default();
        let mut seen = std::collections::HashSet::new();
        for number in 0..MAX_PARKED {
            let address = parking.park(&name(number));
            assert!(is_parking(address.into()) && seen.insert(address));
            assert_eq!(parking.park(&name(number)), address);
            assert_eq!(parking.name_of(address.into()), Some(&name(number)));
        }
    }

    #[test]
    fn oldest_name_goes_when_there_are_too_many() {
        let mut parking = Parking::default();
        let first = parking.park(&name(0));
        for number in 1..=MAX_PARKED {
            parking.park(&name(number));
        }
        assert_eq!((parking.by_name.get(&name(0)), parking.by_name.len()), (None, MAX_PARKED));
        assert!(parking.name_of(first.into()).is_none_or(|owner| *owner != name(0)));
        assert_eq!((parking.by_address.len(), parking.order.len()), (MAX_PARKED, MAX_PARKED));
    }
}
