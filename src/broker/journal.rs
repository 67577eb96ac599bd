//! A refreshed login on its way into the vault: kept in a sealed file until the vault has it.
//!
//! Many vendors void the old refresh token when they hand out a new one, so between their answer and the vault's commit
//! the new one exists in one process's memory alone. The vault may be busy for seconds or the disk full for hours; the
//! file closes that gap. It is written before the vault is touched and removed after the commit; whoever refreshes next
//! finds it and finishes the work. Room for it is taken before the vendor is asked: where nothing can be written, nobody
//! should be given what could only be lost.
//!
//! Invariants: the file is 0600 and sealed with a key made of the refresh token that it replaces, so that it says nothing
//! to anybody who cannot open the vault anyway, and fits only as long as the vault still holds that token: after a new
//! login, or once the vault has been written, it opens no more and is removed.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base::secret::Secret;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{CWD, Mode, OFlags};
use serde_json::{Value, json};

use crate::endpoint::Fresh;
use crate::lease;

const SALT: usize = 32;
const PURPOSE: &[u8] = b"terok refreshed login 1";
/// More than a sealed login takes, and the vault's pages that change with it.
const ROOM: usize = 64 * 1024;
const SIZE_LIMIT: u64 = 1024 * 1024;

/// The file of one credential, beside the vault.
pub fn path(vault: &Path, set: &str, provider: &str) -> PathBuf {
    vault.with_file_name(format!(".refreshed-{}-{}", lease::component(set), lease::component(provider)))
}

fn room(path: &Path) -> PathBuf {
    path.with_file_name(format!(".room{}", path.file_name().unwrap_or_default().to_string_lossy()))
}

/// Takes the room that [`keep`] will need; [`forget`] gives it back.
///
/// # Errors
/// The disk's.
pub fn reserve(path: &Path) -> io::Result<()> {
    base::file::write_private(&room(path), &vec![0; ROOM])
}

/// Keeps `fresh`, which replaces the refresh token `old`.
///
/// # Errors
/// The disk's.
pub fn keep(path: &Path, old: &str, fresh: &Fresh) -> io::Result<()> {
    let mut salt = [0_u8; SALT];
    SystemRandom::new().fill(&mut salt).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let text = json!({
        "access_token": fresh.access_token.expose(),
        "refresh_token": fresh.refresh_token.as_ref().map(Secret::expose),
        "expires_at": fresh.expires_at,
    });
    let mut sealed = text.to_string().into_bytes();
    key(old, &salt)
        .seal_in_place_append_tag(nonce(), Aad::empty(), &mut sealed)
        .map_err(|_| io::Error::other("the refreshed login cannot be sealed"))?;
    let mut content = salt.to_vec();
    content.append(&mut sealed);
    fill(&room(path), &content).and_then(|()| std::fs::rename(room(path), path)).or_else(|_| {
        let _ = std::fs::remove_file(room(path));
        base::file::write_private(path, &content)
    })
}

/// Writes over what was reserved: on a full disk whatever is given back is somebody else's at once.
fn fill(room: &Path, content: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(CWD, room, flags, Mode::empty())?);
    file.write_all(content)?;
    file.set_len(content.len() as u64)?;
    file.sync_all()
}

/// What was kept for a credential whose refresh token is still `current`. A file that does not open is of the past and
/// goes away.
///
/// # Errors
/// The disk's.
pub fn recover(path: &Path, current: &str) -> io::Result<Option<Fresh>> {
    let content = match base::file::read_regular(path, SIZE_LIMIT) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let fresh = unseal(content, current);
    if fresh.is_none() {
        forget(path);
    }
    Ok(fresh)
}

/// Removes the file and what is left of its room; a file that stays behind opens no more.
pub fn forget(path: &Path) {
    let _ = std::fs::remove_file(room(path));
    let _ = std::fs::remove_file(path);
}

fn unseal(mut content: Vec<u8>, current: &str) -> Option<Fresh> {
    let (salt, sealed) = content.split_first_chunk_mut::<SALT>()?;
    let text = key(current, salt).open_in_place(nonce(), Aad::empty(), sealed).ok()?;
    let kept: Value = serde_json::from_slice(text).ok()?;
    Some(Fresh {
        access_token: Secret::new(kept["access_token"].as_str()?),
        refresh_token: kept["refresh_token"].as_str().map(Secret::new),
        expires_at: kept["expires_at"].as_f64()?,
    })
}

/// Each salt makes a key of its own, which seals one file.
fn key(token: &str, salt: &[u8]) -> LessSafeKey {
    let secret = Salt::new(HKDF_SHA256, salt).extract(token.as_bytes());
    let material = secret.expand(&[PURPOSE], &CHACHA20_POLY1305).expect("one key is not too long");
    LessSafeKey::new(UnboundKey::from(material))
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn room_is_taken_used_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = path(&dir.path().join("credentials.db"), "default", "claude");
        let left = || std::fs::read_dir(dir.path()).unwrap().count();
        let fresh = Fresh { access_token: Secret::new("a"), refresh_token: None, expires_at: 1.0 };
        reserve(&file).unwrap();
        assert!(!file.exists() && left() == 1);
        let reserved = std::fs::metadata(room(&file)).unwrap();
        keep(&file, "old", &fresh).unwrap();
        assert!(file.exists() && left() == 1);
        let kept = std::fs::metadata(&file).unwrap();
        assert_eq!((kept.ino(), kept.mode() & 0o777), (reserved.ino(), 0o600), "the room itself, and no new space");
        assert!(kept.len() < 1024 && recover(&file, "old").unwrap().is_some());
        reserve(&file).unwrap();
        forget(&file);
        assert_eq!(left(), 0);
        // Whatever else has the name: there is no room then.
        std::fs::create_dir(room(&file)).unwrap();
        assert!(reserve(&file).is_err());
    }

    #[test]
    fn only_the_replaced_token_opens_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = path(&dir.path().join("credentials.db"), "default", "claude");
        let fresh = || Fresh {
            access_token: Secret::new("new-access"),
            refresh_token: Some(Secret::new("new-refresh")),
            expires_at: 9.5,
        };
        assert!(recover(&file, "old").unwrap().is_none());
        keep(&file, "old", &fresh()).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let content = std::fs::read(&file).unwrap();
        assert!(!content.windows(3).any(|w| w == b"new"));
        let found = recover(&file, "old").unwrap().unwrap();
        assert_eq!((found.access_token.expose(), found.expires_at), ("new-access", 9.5));
        assert_eq!(found.refresh_token.unwrap().expose(), "new-refresh");
        assert!(file.exists());
        assert!(recover(&file, "other").unwrap().is_none());
        assert!(!file.exists(), "what does not open is of the past");
        for spoilt in [&content[..40], &content[..SALT], b"", &[&content[..], b"x"].concat()] {
            std::fs::write(&file, spoilt).unwrap();
            assert!(recover(&file, "old").unwrap().is_none());
        }
        forget(&file);
    }
}
