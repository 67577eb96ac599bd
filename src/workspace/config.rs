//! Writes the configuration of a private git directory from the user's: only keys that are known to be harmless.
//!
//! Refuses: credentials (user info in addresses, headers, helpers), programs, includes, and everything not listed.

use std::path::Path;
use std::time::Duration;

use mirror::git::Git;

use crate::fault::WorkspaceError;

const LIST: Duration = Duration::from_secs(30);
/// Keys that are taken over as they are.
const KEYS: &[&str] = &[
    "core.abbrev",
    "core.autocrlf",
    "core.commentchar",
    "core.eol",
    "core.filemode",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.quotepath",
    "core.safecrlf",
    "core.sparsecheckout",
    "core.sparsecheckoutcone",
    "core.symlinks",
    "i18n.commitencoding",
    "index.sparse",
    "init.defaultbranch",
    "pull.ff",
    "pull.rebase",
    "user.email",
    "user.name",
];
/// Names that are taken over in sections with a name of their own.
const NAMED: &[(&str, &str)] =
    &[("branch", "merge"), ("branch", "rebase"), ("branch", "remote"), ("remote", "fetch"), ("remote", "url")];
/// Longest configuration that is written.
const MAX_ENTRIES: usize = 5000;

/// One setting: section, name of the section, key, value.
type Entry = (String, Option<String>, String, String);

/// Reads what the private configuration takes over from a repository.
///
/// # Errors
/// [`WorkspaceError::Git`].
pub fn read(git_dir: &Path) -> Result<Vec<Entry>, WorkspaceError> {
    let words = ["config", "--list", "-z"];
    let output = Git::at(git_dir, words).limit(LIST).succeed("read the repository's configuration")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let entries =
        text.split('\0').filter_map(|item| item.split_once('\n')).filter_map(|(key, value)| taken(key, value));
    Ok(entries.take(MAX_ENTRIES).collect())
}

/// True when the repository's objects are named by SHA-256.
///
/// # Errors
/// [`WorkspaceError::Git`].
pub fn is_sha256(git_dir: &Path) -> Result<bool, WorkspaceError> {
    let words = ["config", "--get", "extensions.objectformat"];
    let output = Git::at(git_dir, words).limit(LIST).run()?;
    Ok(output.text().trim().eq_ignore_ascii_case("sha256"))
}

fn taken(key: &str, value: &str) -> Option<Entry> {
    let (section, rest) = key.split_once('.')?;
    if KEYS.contains(&key) {
        return Some((section.into(), None, rest.into(), value.into()));
    }
    let (name, last) = rest.rsplit_once('.')?;
    let known = NAMED.contains(&(section, last)) && !name.contains('\n');
    let value = if last == "url" { without_user_info(value) } else { value.to_owned() };
    known.then(|| (section.into(), Some(name.into()), last.into(), value))
}

/// The address without user name and password; an SSH user name is no secret and stays.
fn without_user_info(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((user, host)) = authority.rsplit_once('@') else { return url.to_owned() };
    let user = if scheme.contains("ssh") { user.split(':').next().unwrap_or_default() } else { "" };
    let at = if user.is_empty() { "" } else { "@" };
    format!("{scheme}://{user}{at}{host}{path}")
}

/// The text of the private configuration.
pub fn text(entries: &[Entry], sha256: bool) -> String {
    let mut out = format!("[core]\n\trepositoryformatversion = {}\n\tbare = false\n", u8::from(sha256));
    out.push_str("\tlogallrefupdates = true\n");
    if sha256 {
        out.push_str("[extensions]\n\tobjectformat = sha256\n");
    }
    for (section, name, key, value) in entries {
        let name = name.as_ref().map(|name| format!(" \"{}\"", escaped(name))).unwrap_or_default();
        let value = escaped(value).replace('\n', "\\n").replace('\t', "\\t");
        out.push_str(&format!("[{section}{name}]\n\t{key} = \"{value}\"\n"));
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_info_is_removed_from_addresses() {
        for (url, clean) in [
            ("https://u:ghp_secret@github.com/a/b", "https://github.com/a/b"),
            ("https://token@host", "https://host"),
            ("https://u:p@ss@host/x@y", "https://host/x@y"),
            ("ssh://git:pw@host/x", "ssh://git@host/x"),
            ("git@host:a/b.git", "git@host:a/b.git"),
            ("https://host/a@b", "https://host/a@b"),
            ("/srv/git/x", "/srv/git/x"),
        ] {
            assert_eq!(without_user_info(url), clean);
        }
    }

    #[test]
    fn only_listed_keys_are_taken() {
        for key in
            ["core.fsmonitor", "core.sshcommand", "http.https://x/.extraheader", "include.path", "remote.o.pushurl"]
        {
            assert_eq!(taken(key, "x"), None, "{key}");
        }
        assert!(taken("filter.x.clean", "x").is_none() && taken("credential.helper", "x").is_none());
        let entry = taken("remote.my \"odd\\one\".url", "https://t@h/x").unwrap();
        let text = text(&[entry], true);
        assert!(text.ends_with("[remote \"my \\\"odd\\\\one\\\"\"]\n\turl = \"https://h/x\"\n"), "{text}");
    }
}
