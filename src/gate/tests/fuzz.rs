//! Ten thousand odd inputs for each parser that a container can reach before or beside git.
//!
//! Corpus items come first, as they are, then seeded mutations of them; the seed is printed when something fails.

use std::path::Path;

use gate::pkt::{self, Frame};
use gate::push::{HeadReader, LONGEST_HEAD};
use gate::{path, reference};

const INPUTS: u64 = 10_000;

struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "a corpus has some items");
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// A corpus item with a few changes.
fn mutated(items: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = items[random.below(items.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.below(256) as u8),
            2 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            3 => bytes.splice(at..at, b"%2e/../\0fff0 0001".iter().copied()).for_each(drop),
            4 => {
                let other = &items[random.below(items.len())];
                bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
            _ if at < bytes.len() => drop(bytes.remove(at)),
            _ => {}
        }
    }
    bytes
}

fn with_each_input(name: &str, check: impl Fn(&[u8], &mut Random) + std::panic::RefUnwindSafe) {
    let items = corpus(name);
    for item in &items {
        check(item, &mut Random::new(0));
    }
    for seed in 0..INPUTS {
        let done = std::panic::catch_unwind(|| {
            let mut random = Random::new(seed);
            let input = mutated(&items, &mut random);
            check(&input, &mut random);
        });
        assert!(done.is_ok(), "{name}: seed {seed}");
    }
}

#[test]
fn request_paths() {
    with_each_input("gate-path", |input, _| {
        let text = String::from_utf8_lossy(input);
        let _ = path::wanted(&text);
        let Some((name, _)) = path::parse(&text) else { return };
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{text}");
        assert!(name.as_bytes()[0].is_ascii_alphanumeric(), "{text}");
        let place = Path::new("/base").join(format!("{name}.git"));
        assert_eq!(place.parent(), Some(Path::new("/base")), "{text}");
        assert_eq!(place.components().count(), 3, "{text}");
    });
}

#[test]
fn heads_of_pushes() {
    with_each_input("pkt-line", |input, random| {
        let mut at = 0;
        while let Ok(Some((frame, next))) = pkt::next(input, at) {
            assert!(next > at && next <= input.len());
            if let Frame::Data(range) = frame {
                assert_eq!((range.start, range.end), (at + 4, next));
            }
            at = next;
        }
        let whole = read(&[input]);
        let cut = random.below(input.len() + 1);
        let halves = read(&[&input[..cut], &input[cut..]]);
        assert_eq!(whole, halves, "the pieces make no difference");
    });
}

/// What the pieces say; every name that would be let through is one that git and the host can bear.
fn read(pieces: &[&[u8]]) -> String {
    let mut reader = HeadReader::new(10_000);
    for piece in pieces {
        match reader.feed(piece) {
            Ok(false) => {}
            Err(error) => return error.to_string(),
            Ok(true) => {
                let (head, bytes) = reader.finish();
                assert!(bytes.len() <= LONGEST_HEAD + pkt::LONGEST);
                let verdict = head.verdict();
                if let Some(reasons) = &verdict {
                    assert_eq!(reasons.len(), head.changes.len());
                    let _ = head.refusal(reasons);
                } else {
                    for change in &head.changes {
                        assert!(reference::check(&change.name).is_ok());
                    }
                }
                return format!("{head:?} {verdict:?}");
            }
        }
    }
    "more".into()
}
