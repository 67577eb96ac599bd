//! The lock that keeps two supervisors from refreshing one login at the same time.
//!
//! Names and place are those of every generation of supervisors, since an older one may run beside us. The files stay.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base::lock::Lock;
use sha2::{Digest, Sha256};

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A text as a part of a file name: readable, and different for different texts.
pub fn component(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let mut name: String = text.chars().map(plain).collect();
    name.push('-');
    name.push_str(&hex::encode(&Sha256::digest(text)[..6]));
    name
}

/// The lock file of one credential.
pub fn path(dir: &Path, set: &str, provider: &str) -> PathBuf {
    dir.join(format!("refresh-{}-{}.lock", component(set), component(provider)))
}

/// Takes the lock, waiting for as long as `patience`; `None` when it stays taken.
///
/// # Errors
/// The disk's, when the lock cannot be used at all.
pub async fn take(dir: &Path, set: &str, provider: &str, patience: Duration) -> io::Result<Option<Lock>> {
    let until = Instant::now() + patience;
    base::file::create_private_dir(dir)?;
    let path = path(dir, set, provider);
    loop {
        if let Some(lock) = Lock::try_acquire(&path)? {
            return Ok(Some(lock));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_agreed_ones() {
        let digest = |text: &str| hex::encode(Sha256::digest(text))[..12].to_owned();
        let expected = format!("/l/refresh-a_b-{}-claude-{}.lock", digest("a/b"), digest("claude"));
        assert_eq!(path(Path::new("/l"), "a/b", "claude"), PathBuf::from(expected));
        assert!(component("ä b").starts_with("__b-"));
        assert_ne!(component("a/b"), component("a_b"));
    }
}
