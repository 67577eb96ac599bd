//! Real credentials that an agent left in a shared directory.
//!
//! Invariants: every file is read through one descriptor, without following a link; a file that we wrote ourselves is
//! recognised by its own provider's marker only; what cannot be parsed counts as a leak.

use std::io;
use std::path::{Path, PathBuf};

use base::file::Dir;
use rustix::fs::FileType;
use serde_json::Value;

use crate::model::Roster;
use crate::patch::split;

/// Access token of the Claude credential file that we write ourselves.
pub const CLAUDE_MARKER: &str = "terok-proxy-phantom-token:vault-handles-real-auth";
/// Both tokens of the Codex credential file that we write ourselves.
pub const CODEX_MARKER: &str = "terok-proxy-codex-oauth-marker:vault-handles-real-auth";
const SIZE_LIMIT: u64 = 1024 * 1024;

/// Leaks in roster order as `(provider, path)`; what could not be looked at ends in `warnings`.
pub fn scan(roster: &Roster, mounts: &Path, warnings: &mut Vec<String>) -> Vec<(String, PathBuf)> {
    let Ok(base) = Dir::open(mounts) else { return Vec::new() };
    let mut found = Vec::new();
    for (provider, relative) in places(roster) {
        match look(&base, &provider, &relative) {
            Ok(Verdict::Clean) => {}
            Ok(Verdict::Leak) => found.push((provider, mounts.join(relative))),
            Ok(Verdict::Link) => warnings.push(format!(
                "Warning [vault]: `{}` of {provider} is a link and was not looked at",
                mounts.join(relative).display()
            )),
            Err(error) => {
                warnings.push(format!("Warning [vault]: cannot look at the credential file of {provider}: {error}"))
            }
        }
    }
    found
}

/// Removes every leak; what was removed, by the same descriptors that found it.
pub fn remove(roster: &Roster, mounts: &Path, warnings: &mut Vec<String>) -> Vec<(String, PathBuf)> {
    let Ok(base) = Dir::open(mounts) else { return Vec::new() };
    let mut removed = Vec::new();
    for (provider, path) in scan(roster, mounts, warnings) {
        let relative = path.strip_prefix(mounts).unwrap_or(&path).to_owned();
        match unlink(&base, &relative) {
            Ok(true) => removed.push((provider, path)),
            Ok(false) => {}
            Err(error) => warnings.push(format!("Warning [vault]: cannot remove `{}`: {error}", path.display())),
        }
    }
    removed
}

fn places(roster: &Roster) -> Vec<(String, PathBuf)> {
    let routes = roster.vault_routes.iter().filter(|(_, route)| !route.credential_file.is_empty());
    routes
        .filter_map(|(name, route)| {
            let auth = roster.auth_providers.get(name)?;
            Some((name.clone(), Path::new(&auth.host_dir_name).join(&route.credential_file)))
        })
        .collect()
}

enum Verdict {
    Clean,
    Leak,
    Link,
}

fn parent(base: &Dir, relative: &Path) -> io::Result<Option<(Dir, String)>> {
    let text = relative.to_string_lossy();
    let (folders, name) = split(&text);
    let folder: PathBuf = folders.iter().collect();
    match base.open_below(&folder) {
        Ok(dir) => Ok(Some((dir, name.to_owned()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn look(base: &Dir, provider: &str, relative: &Path) -> io::Result<Verdict> {
    let Some((dir, name)) = parent(base, relative)? else { return Ok(Verdict::Clean) };
    match dir.entry_type(&name)? {
        Some(FileType::RegularFile) => {}
        Some(FileType::Symlink) => return Ok(Verdict::Link),
        _ => return Ok(Verdict::Clean),
    }
    match dir.read(Path::new(&name), SIZE_LIMIT) {
        Ok(bytes) if bytes.is_empty() || is_ours(provider, &bytes) => Ok(Verdict::Clean),
        Ok(_) => Ok(Verdict::Leak),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Verdict::Clean),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(Verdict::Leak),
        Err(error) => Err(error),
    }
}

fn unlink(base: &Dir, relative: &Path) -> io::Result<bool> {
    match parent(base, relative)? {
        Some((dir, name)) => dir.remove_file(&name),
        None => Ok(false),
    }
}

fn is_ours(provider: &str, bytes: &[u8]) -> bool {
    let Ok(content) = serde_json::from_slice::<Value>(bytes) else { return false };
    let blank = |value: &Value| value.is_null() || value.as_str() == Some("");
    match provider {
        "claude" => {
            let login = &content["claudeAiOauth"];
            login["accessToken"] == CLAUDE_MARKER && blank(&login["refreshToken"])
        }
        "codex" => {
            let tokens = &content["tokens"];
            tokens["access_token"] == CODEX_MARKER
                && tokens["refresh_token"] == CODEX_MARKER
                && blank(&content["OPENAI_API_KEY"])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::{Strictness, bundled, load};
    use std::fs;

    fn scanned(dir: &Path) -> (String, usize) {
        let roster = load(&bundled(), &[], Strictness::Strict, &mut Vec::new()).unwrap();
        let mut warnings = Vec::new();
        let found = scan(&roster, dir, &mut warnings);
        (found.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" "), warnings.len())
    }

    fn put(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn only_real_credentials_are_leaks() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(scanned(dir.path()), (String::new(), 0));
        let claude = |token: &str| format!(r#"{{"claudeAiOauth": {{"accessToken": "{token}", "refreshToken": ""}}}}"#);
        put(dir.path(), "_claude-config/.credentials.json", &claude(CLAUDE_MARKER));
        put(dir.path(), "_gh-config/hosts.yml", "");
        assert_eq!(scanned(dir.path()).0, "");
        put(dir.path(), "_claude-config/.credentials.json", &claude("sk-ant-x"));
        put(dir.path(), "_codex-config/auth.json", &claude(CLAUDE_MARKER));
        put(dir.path(), "_vibe-config/.env", "KEY=1");
        assert_eq!(scanned(dir.path()), ("claude codex vibe".into(), 0));
        let markers =
            format!(r#"{{"tokens": {{"access_token": "{CODEX_MARKER}", "refresh_token": "{CODEX_MARKER}"}}}}"#);
        put(dir.path(), "_codex-config/auth.json", &markers);
        assert_eq!(scanned(dir.path()).0, "claude vibe");
    }

    #[test]
    fn links_are_named_and_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "victim", "secret");
        fs::create_dir(dir.path().join("_gh-config")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("victim"), dir.path().join("_gh-config/hosts.yml")).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("_vibe-config")).unwrap();
        let (found, warnings) = scanned(dir.path());
        assert_eq!((found.as_str(), warnings), ("", 2));
    }

    #[test]
    fn removal_takes_the_leaks_alone() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "_vibe-config/.env", "KEY=1");
        put(dir.path(), "_gh-config/hosts.yml", "");
        let roster = load(&bundled(), &[], Strictness::Strict, &mut Vec::new()).unwrap();
        assert_eq!(remove(&roster, dir.path(), &mut Vec::new()).len(), 1);
        assert!(!dir.path().join("_vibe-config/.env").exists() && dir.path().join("_gh-config/hosts.yml").exists());
    }
}
