//! Profiles: named lists of entries, bundled or in the user's directory, and their composition.

use std::path::{Path, PathBuf};

use crate::entry::{Entry, parse_lines};
use crate::fault::ShieldError;

const MAX_PROFILE: u64 = 1024 * 1024;
const SUFFIX: &str = ".txt";

/// The profiles that come with the program.
const BUNDLED: [(&str, &str); 6] = [
    ("base", include_str!("profiles/base.txt")),
    ("dev-node", include_str!("profiles/dev-node.txt")),
    ("dev-python", include_str!("profiles/dev-python.txt")),
    ("dev-standard", include_str!("profiles/dev-standard.txt")),
    ("krun_guest", include_str!("profiles/krun_guest.txt")),
    ("nvidia-hpc", include_str!("profiles/nvidia-hpc.txt")),
];

/// Loads profiles; those of the user's directory go before bundled ones of the same name.
#[derive(Debug, Clone, Default)]
pub struct ProfileLoader {
    user: Option<PathBuf>,
}

impl ProfileLoader {
    /// A loader with the user's directory, which need not exist.
    pub fn new(user: Option<&Path>) -> Self {
        Self { user: user.map(Path::to_owned) }
    }

    /// Names of all profiles, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = BUNDLED.iter().map(|(name, _)| (*name).to_owned()).collect();
        let entries = self.user.as_ref().and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
        let files = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names
            .extend(files.filter_map(|file| file.strip_suffix(SUFFIX).filter(|name| is_name(name)).map(str::to_owned)));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The text of a profile.
    ///
    /// # Errors
    /// [`ShieldError::ProfileName`], [`ShieldError::NoProfile`] or [`ShieldError::ReadProfile`].
    pub fn text(&self, name: &str) -> Result<String, ShieldError> {
        if !is_name(name) {
            return Err(ShieldError::ProfileName(base::text::sanitize_tty(name)));
        }
        if let Some(path) = self.user.as_ref().map(|dir| dir.join(format!("{name}{SUFFIX}"))) {
            match base::file::read_regular(&path, MAX_PROFILE) {
                Ok(bytes) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(ShieldError::ReadProfile { path, source }),
            }
        }
        let bundled = BUNDLED.iter().find(|(known, _)| *known == name);
        bundled.map(|(_, text)| (*text).to_owned()).ok_or_else(|| ShieldError::NoProfile(name.to_owned()))
    }

    /// The entries of several profiles, each once, in order; malformed lines apart.
    ///
    /// # Errors
    /// As [`ProfileLoader::text`], for the first profile that cannot be had.
    pub fn compose<S: AsRef<str>>(&self, names: &[S]) -> Result<(Vec<Entry>, Vec<ShieldError>), ShieldError> {
        let mut entries = Vec::new();
        let mut errors = Vec::new();
        for name in names {
            let (found, malformed) = parse_lines(&self.text(name.as_ref())?);
            entries.extend(found.into_iter().filter(|entry| !entries.contains(entry)).collect::<Vec<_>>());
            errors.extend(malformed);
        }
        Ok((entries, errors))
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundled_profiles_are_well_formed() {
        let loader = ProfileLoader::default();
        assert_eq!(loader.names(), BUNDLED.map(|(name, _)| name));
        for name in loader.names() {
            let (entries, errors) = loader.compose(&[name]).unwrap();
            assert!(!entries.is_empty() && errors.is_empty());
        }
    }

    #[test]
    fn user_profile_goes_before_a_bundled_one_and_composition_keeps_order() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("base.txt"), "b.example\na.example\n").unwrap();
        std::fs::write(dir.path().join("own.txt"), "a.example\n10.0.0.0/8\nnot valid\n").unwrap();
        std::fs::write(dir.path().join(".hidden.txt"), "").unwrap();
        let loader = ProfileLoader::new(Some(dir.path()));
        let (entries, errors) = loader.compose(&["base", "own"]).unwrap();
        assert_eq!(
            entries.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["b.example", "a.example", "10.0.0.0/8"]
        );
        assert_eq!(errors.len(), 1);
        assert!(loader.names().contains(&"own".to_owned()) && !loader.names().contains(&".hidden".to_owned()));
        assert!(matches!(loader.text("../own"), Err(ShieldError::ProfileName(_))));
        assert!(matches!(loader.text("missing"), Err(ShieldError::NoProfile(_))));
    }
}
