//! The namespaces of references in a mirror, which both the synchronisation and the HTTP service keep to.
//!
//! `refs/heads/` and `refs/tags/` are what containers see and push. Everything below [`PRIVATE`] is ours and hidden from
//! them. Names are bytes: git allows any that a file system takes.

/// Everything that containers neither see nor push.
pub const PRIVATE: &str = "refs/terok";
/// The upstream's branches and tags as they were at the last synchronisation: forced and pruned, below `<this>/heads/`
/// and `<this>/tags/`.
pub const UPSTREAM: &str = "refs/terok/upstream";
/// Old tips of references that were moved or deleted: `<this>/<name without refs/>/<object id>`.
pub const BACKUP: &str = "refs/terok/backup";
/// Where branches are that containers see.
pub const HEADS: &str = "refs/heads/";
/// Where tags are that containers see.
pub const TAGS: &str = "refs/tags/";

/// A reference and what it points to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Full name.
    pub name: Vec<u8>,
    /// Object id, hexadecimal.
    pub id: String,
}

impl Reference {
    /// A reference.
    pub fn new(name: impl Into<Vec<u8>>, id: impl Into<String>) -> Self {
        Self { name: name.into(), id: id.into() }
    }

    /// The name for messages.
    pub fn shown(&self) -> String {
        base::text::sanitize_tty(&String::from_utf8_lossy(&self.name))
    }
}

/// Where the tip `id` of the reference `name` is kept when it moves.
pub fn backup(name: &[u8], id: &str) -> Vec<u8> {
    [BACKUP.as_bytes(), name.strip_prefix(b"refs/").unwrap_or(name), id.as_bytes()].join(&b'/')
}

/// The reference whose tip is kept under this name, and the tip; `None` for a name that is no backup.
pub fn backed_up(name: &[u8]) -> Option<(&[u8], &str)> {
    let rest = name.strip_prefix(BACKUP.as_bytes())?.strip_prefix(b"/")?;
    let cut = rest.iter().rposition(|byte| *byte == b'/')?;
    let id = std::str::from_utf8(&rest[cut + 1..]).ok().filter(|id| is_object_id(id))?;
    // A branch is called as people call it.
    Some((rest[..cut].strip_prefix(b"heads/").unwrap_or(&rest[..cut]), id))
}

/// The name that the upstream's reference has here; `None` for what is neither branch nor tag.
pub fn upstream(name: &[u8]) -> Option<Vec<u8>> {
    let kind = name.strip_prefix(b"refs/").filter(|rest| rest.starts_with(b"heads/") || rest.starts_with(b"tags/"))?;
    Some([UPSTREAM.as_bytes(), kind].join(&b'/'))
}

/// The name that containers see for one below [`UPSTREAM`].
pub fn offered(name: &[u8]) -> Option<Vec<u8>> {
    let kind = name.strip_prefix(UPSTREAM.as_bytes())?.strip_prefix(b"/")?;
    let short = kind.strip_prefix(b"heads/").or_else(|| kind.strip_prefix(b"tags/"))?;
    // Git can be told to make these; as branches they are options and objects to whoever types them.
    let odd = short.starts_with(b"-")
        || short == b"HEAD"
        || short.split(|b| *b == b'/').any(|part| std::str::from_utf8(part).is_ok_and(is_object_id));
    (!odd).then(|| [b"refs/".as_slice(), kind].concat())
}

/// True for the hexadecimal forms of SHA-1 and SHA-256 ids.
pub fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// True for a branch name that is safe to put into a reference name and on a command line.
pub fn is_branch(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    let part =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock") && !part.ends_with('.');
    !name.starts_with('-')
        && name != "HEAD"
        && name != "@"
        && !name.contains(forbidden)
        && !name.contains("..")
        && !name.contains("@{")
        && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789012345678901234567890123456789";

    #[test]
    fn names_go_to_the_private_namespaces_and_back() {
        assert_eq!(upstream(b"refs/heads/a/b").unwrap(), b"refs/terok/upstream/heads/a/b");
        assert_eq!(offered(b"refs/terok/upstream/heads/a/b").unwrap(), b"refs/heads/a/b");
        assert_eq!(offered(b"refs/terok/upstream/tags/v1").unwrap(), b"refs/tags/v1");
        assert_eq!(upstream(b"refs/pull/1/head"), None);
        for odd in ["refs/terok/upstream/heads/-x", "refs/terok/upstream/heads/HEAD", "refs/heads/a"] {
            assert_eq!(offered(odd.as_bytes()), None, "{odd}");
        }
        assert_eq!(offered(format!("refs/terok/upstream/heads/a/{ID}").as_bytes()), None);
    }

    #[test]
    fn kept_tips_say_what_they_were() {
        let kept = backup(b"refs/heads/a/b", ID);
        assert_eq!(kept, format!("refs/terok/backup/heads/a/b/{ID}").into_bytes());
        assert_eq!(backed_up(&kept), Some((b"a/b".as_slice(), ID)));
        assert_eq!(backed_up(&backup(b"refs/tags/v", ID)), Some((b"tags/v".as_slice(), ID)));
        assert_eq!(backed_up(b"refs/terok/backup/a/b"), None);
        assert_eq!(backed_up(b"refs/heads/a"), None);
    }

    #[test]
    fn branch_names() {
        for good in ["main", "feature/x.y", "ü", "a@b"] {
            assert!(is_branch(good), "{good}");
        }
        for bad in
            ["", "-x", "a b", "a..b", "/a", "a/", "a//b", ".a", "a.lock", "HEAD", "@", "a@{1}", "a\n", "a:b", "a*"]
        {
            assert!(!is_branch(bad), "{bad}");
        }
    }
}
