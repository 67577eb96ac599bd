//! Classes of addresses: private space that names never open, and the pool of parking addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use terok_nft::{Family, Range};

/// Networks that only a literal entry opens: private, shared, loopback, link-local, multicast, reserved, and the
/// addresses that stand for IPv4 ones. Networks of documentation stay public.
const PRIVATE_V4: [(Ipv4Addr, u8); 9] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];
const PRIVATE_V6: [(Ipv6Addr, u8); 6] = [
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 96),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];
const PARKING: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 18, 0, 0), 15);

/// The private networks of a family, merged.
pub fn private(family: Family) -> Vec<Range> {
    let ranges: Vec<Range> = match family {
        Family::V4 => PRIVATE_V4.iter().filter_map(|(at, bits)| Range::prefix((*at).into(), *bits)).collect(),
        Family::V6 => PRIVATE_V6.iter().filter_map(|(at, bits)| Range::prefix((*at).into(), *bits)).collect(),
    };
    terok_nft::merge(ranges)
}

/// True for an address in private space.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => PRIVATE_V4.iter().any(|(at, bits)| lies_in(address, (*at).into(), *bits)),
        IpAddr::V6(_) => PRIVATE_V6.iter().any(|(at, bits)| lies_in(address, (*at).into(), *bits)),
    }
}

/// True for a parking address.
pub fn is_parking(address: IpAddr) -> bool {
    lies_in(address, PARKING.0.into(), PARKING.1)
}

/// The number of parking addresses.
pub const PARKING_SIZE: u32 = 1 << 17;

/// The parking address with that number; numbers wrap.
pub fn parking(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(PARKING.0) + number % PARKING_SIZE)
}

fn lies_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    Range::prefix(network, bits).is_some_and(|range| range.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_space_has_every_kind_that_a_name_must_not_open() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.0.0.1",
            "192.168.1.1",
            "224.0.0.1",
            "239.1.1.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "fc00::1",
            "fd00::2",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(is_private(text.parse().unwrap()), "{text}");
        }
        for text in ["8.8.8.8", "198.51.100.7", "203.0.113.9", "192.0.2.1", "198.18.0.1", "2001:db8::1", "2606::1"] {
            assert!(!is_private(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn parking_pool_is_its_network_and_outside_private_space() {
        for number in [0, 1, PARKING_SIZE - 1, PARKING_SIZE, u32::MAX] {
            let address = parking(number).into();
            assert!(is_parking(address) && !is_private(address));
        }
        assert!(!is_parking("198.20.0.0".parse().unwrap()) && !is_parking("198.17.255.255".parse().unwrap()));
        assert_eq!(parking(0), parking(PARKING_SIZE));
    }
}
