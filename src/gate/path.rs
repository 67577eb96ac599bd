//! Request paths: which repository, and which of the four things one can ask of it.
//!
//! The path is compared byte by byte and never decoded or joined: a name that begins with a letter or digit and has no
//! other sign than `.`, `_` and `-` cannot leave the directory of the mirrors. Everything else is no path of ours.

/// What a request asks of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The list of references, which begins every fetch and push.
    InfoRefs,
    /// A fetch.
    UploadPack,
    /// A push.
    ReceivePack,
    /// What the repository's `HEAD` names.
    Head,
}

const SERVICES: [(&str, Service); 4] = [
    ("/info/refs", Service::InfoRefs),
    ("/git-upload-pack", Service::UploadPack),
    ("/git-receive-pack", Service::ReceivePack),
    ("/HEAD", Service::Head),
];

/// Splits `/<name>.git/<service>`; the name comes without `.git`.
pub fn parse(path: &str) -> Option<(&str, Service)> {
    SERVICES.iter().find_map(|(end, service)| {
        let name = path.strip_suffix(end)?.strip_prefix('/')?.strip_suffix(".git")?;
        is_name(name).then_some((name, *service))
    })
}

/// True for names that a repository can have in a URL of the gate.
pub fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric()) && name.bytes().all(plain)
}

/// The value of `service` in a query, without the `git-` in front.
pub fn wanted(query: &str) -> Option<&str> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("service="))?;
    Some(value.strip_prefix("git-").unwrap_or(value))
}
