//! Ten thousand broken inputs each for what comes from the kernel: no panic, no growth.

use terok_nft::{Image, dump, packetlog};

mod sample;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }
}

/// Flips, cuts and repeats bytes of something valid.
fn mutate(random: &mut Random, valid: &[u8]) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            2 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            3 => bytes.insert(at, 0xff),
            _ => {
                let tail = bytes[at..].to_vec();
                bytes.extend_from_slice(&tail[..tail.len().min(64)]);
            }
        }
    }
    bytes
}

fn header(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&[0; 10]);
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn packet_log_survives_ten_thousand_broken_datagrams() {
    let mut packet = vec![0x60, 0, 0, 0, 0, 16, 0, 64];
    packet.extend_from_slice(&[0xfd; 32]);
    packet.extend_from_slice(&[17, 0, 0, 0, 0, 0, 0, 0, 0, 99, 0, 123]);
    let mut body = vec![10, 0, 0, 100, 28, 0, 10, 0];
    body.extend_from_slice(b"TEROK_SHIELD_BLOCKED: \0\0");
    body.extend_from_slice(&u16::try_from(4 + packet.len()).unwrap().to_ne_bytes());
    body.extend_from_slice(&[9, 0]);
    body.extend_from_slice(&packet);
    let valid = header(0x0400, &body);
    assert_eq!(packetlog::parse(&valid).len(), 1);
    let mut random = Random(0x5eed_0001);
    for _ in 0..10_000 {
        let input = mutate(&mut random, &valid);
        let found = packetlog::parse(&input);
        assert!(found.len() <= input.len() / 16 && found.iter().all(|packet| packet.prefix.len() <= 64));
    }
}

#[test]
fn dump_survives_ten_thousand_broken_messages() {
    // What a transaction sends has the layout of what a dump returns.
    let image = Image::of(&sample::table());
    let mut transaction = terok_nft::Transaction::new("terok_shield");
    transaction.create(&image);
    let valid = transaction.bytes().to_vec();
    assert!(dump::decode(&valid).unwrap() > 20);
    let mut random = Random(0x5eed_0002);
    let mut refused = 0;
    for _ in 0..10_000 {
        let input = mutate(&mut random, &valid);
        match dump::decode(&input) {
            Ok(count) => assert!(count <= input.len() / 16),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 100, "the inputs are not broken enough: {refused}");
}
