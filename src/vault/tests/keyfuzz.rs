//! Ten thousand spoilt key files: each is read or refused, quickly and without a panic; what is read works.

use std::path::Path;

use base::secret::Secret;
use vault::key::{Keypair, PrivateKey, PublicKey};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/corpus/key-file");
const INPUTS: usize = 10_000;
const SEED: u64 = 0x5eed_2026_1122;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below.max(1) as u64).unwrap()
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = std::fs::read_dir(Path::new(CORPUS)).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn spoil(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[dice.roll(corpus.len())].clone();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(bytes.len());
        match dice.roll(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, u8::try_from(dice.roll(256)).unwrap()),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            3 => {
                let other = &corpus[dice.roll(corpus.len())];
                bytes.splice(at.., other[dice.roll(other.len())..].iter().copied());
            }
            // Stays base64, so that the formats below the text are reached.
            _ if !bytes.is_empty() => bytes[at] = b"ABCDEFGHabcdefgh0123456789+/"[dice.roll(28)],
            _ => {}
        }
    }
    bytes
}

fn try_one(bytes: &[u8], passphrase: Option<&Secret>) -> bool {
    let _ = PublicKey::from_file_bytes(bytes);
    let _ = PrivateKey::from_pkcs8(bytes);
    let Ok(pair) = Keypair::read(bytes, None, None, passphrase) else { return false };
    let again = PrivateKey::from_pkcs8(&pair.private_der).unwrap();
    assert_eq!(again.public_blob().unwrap(), pair.public_blob);
    let text = again.to_openssh().unwrap();
    assert_eq!(Keypair::read(text.as_bytes(), None, None, None).unwrap().fingerprint, pair.fingerprint);
    true
}

#[test]
#[allow(clippy::print_stdout, reason = "seed and figure for whoever runs it with --nocapture")]
fn spoilt_key_files_are_read_or_refused() {
    println!("seed {SEED:#x}");
    let (corpus, passphrase, mut dice) = (corpus(), Secret::new("pw"), Dice(SEED));
    let whole = corpus.iter().filter(|bytes| try_one(bytes, Some(&passphrase))).count();
    assert_eq!(whole, corpus.len() - 1, "all but the public line are keys");
    // Deriving a key takes long on purpose; once in a hundred inputs is enough for what lies behind it.
    let word = |n: usize| n.is_multiple_of(100).then_some(&passphrase);
    let read = (0..INPUTS).filter(|n| try_one(&spoil(&mut dice, &corpus), word(*n))).count();
    println!("{INPUTS} inputs, {read} of them still keys");
    assert!(read < INPUTS / 2);
}
