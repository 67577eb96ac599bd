//! Symbolic entries: the hosts of a package manager, read from its own configuration and defaults inside the image.
//!
//! No host name is written down here. Who prepares a container hands in the files that exist, and so a mirror or a
//! company's index is followed without any setting of ours. Files are hostile: only host names are taken from them.

use crate::name::Name;

/// Bytes of one file that are looked at.
pub const MAX_FILE: usize = 4 * 1024 * 1024;
const MAX_HOSTS: usize = 64;

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Symbol {
    /// Python packages.
    Pypi,
    /// JavaScript packages.
    Npm,
    /// Rust packages.
    Crates,
    /// Packages of the distribution.
    Debian,
}

impl Symbol {
    /// Every symbol.
    pub const ALL: [Self; 4] = [Self::Pypi, Self::Npm, Self::Crates, Self::Debian];

    /// The name after `@`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pypi => "pypi",
            Self::Npm => "npm",
            Self::Crates => "crates",
            Self::Debian => "debian",
        }
    }

    /// The symbol of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|symbol| symbol.name() == name)
    }

    /// Files of an image that say where the packages come from; a last part of `*` stands for any file there.
    ///
    /// Later files add to earlier ones. The last ones hold the program's own defaults.
    pub fn sources(self) -> &'static [&'static str] {
        match self {
            Self::Pypi => &[
                "etc/pip.conf",
                "root/.config/pip/pip.conf",
                "root/.pip/pip.conf",
                "etc/uv/uv.toml",
                "usr/lib/python3/dist-packages/pip/_internal/models/index.py",
                "usr/local/lib/python3*/site-packages/pip/_internal/models/index.py",
            ],
            Self::Npm => &[
                "etc/npmrc",
                "root/.npmrc",
                "usr/share/nodejs/@npmcli/config/lib/definitions/definitions.js",
                "usr/lib/node_modules/npm/node_modules/@npmcli/config/lib/definitions/definitions.js",
                "usr/local/lib/node_modules/npm/node_modules/@npmcli/config/lib/definitions/definitions.js",
            ],
            Self::Crates => &["root/.cargo/config.toml", "usr/local/cargo/config.toml", "usr/bin/cargo"],
            Self::Debian => &["etc/apt/sources.list", "etc/apt/sources.list.d/*"],
        }
    }

    /// The hosts that a file's text names, in order of appearance.
    pub fn hosts(self, content: &[u8]) -> Vec<Name> {
        let content = &content[..content.len().min(MAX_FILE)];
        let text = String::from_utf8_lossy(content);
        let mut hosts = Vec::new();
        for line in text.lines() {
            let line = line.trim();
            if self.is_relevant(line) {
                urls(line).for_each(|host| push(&mut hosts, host));
            }
        }
        hosts
    }

    /// Configuration names many addresses; these lines are about where packages come from.
    fn is_relevant(self, line: &str) -> bool {
        if line.starts_with(['#', ';']) || line.starts_with("//") {
            return false;
        }
        match self {
            Self::Pypi => {
                let keys = ["index-url", "extra-index-url", "index_url", "url", "PyPI =", "find-links", "default"];
                keys.iter().any(|key| line.contains(key)) && !line.contains("test")
            }
            Self::Npm => line.contains("registry") || line.starts_with("default:"),
            // The program itself: its default index is the one sparse address in it.
            Self::Crates => line.contains("sparse+http") || line.contains("index") || line.contains("registry"),
            Self::Debian => {
                let keys = ["deb ", "deb-src ", "URIs:"];
                keys.iter().any(|key| line.starts_with(key)) || line.starts_with("http")
            }
        }
    }
}

fn push(hosts: &mut Vec<Name>, host: Name) {
    if hosts.len() < MAX_HOSTS && !hosts.contains(&host) {
        hosts.push(host);
    }
}

/// The hosts of every `http://` and `https://` address in a line.
fn urls(line: &str) -> impl Iterator<Item = Name> + '_ {
    line.match_indices("://").filter_map(|(at, _)| {
        let scheme = &line[..at];
        if !scheme.ends_with("http") && !scheme.ends_with("https") {
            return None;
        }
        let rest = &line[at + 3..];
        let host_like = |c: char| c.is_ascii_alphanumeric() || "-_.@:%+~".contains(c);
        let authority = &rest[..rest.find(|c: char| !host_like(c)).unwrap_or(rest.len())];
        let host = authority.rsplit('@').next()?;
        let host = host.split(':').next()?;
        Name::parse(host).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(symbol: Symbol, text: &str) -> Vec<String> {
        symbol.hosts(text.as_bytes()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn hosts_come_from_the_configuration_of_each_package_manager() {
        let pip = "[global]\nindex-url = https://user:secret@mirror.example/simple\n# url = http://x.example\n";
        assert_eq!(hosts(Symbol::Pypi, pip), ["mirror.example"]);
        let default = "PyPI = PackageIndex(\"https://index.example/\", file_storage_domain=\"files.example\")\n";
        assert_eq!(hosts(Symbol::Pypi, default), ["index.example"]);
        assert_eq!(hosts(Symbol::Npm, "registry=https://npm.example:8443/a/\n"), ["npm.example"]);
        let cargo = "[source.mirror]\nregistry = \"sparse+https://crates.example/index/\"\n";
        assert_eq!(hosts(Symbol::Crates, cargo), ["crates.example"]);
        let apt = "deb [arch=amd64] http://deb.example/debian stable main\n#deb http://off.example x y\n";
        assert_eq!(hosts(Symbol::Debian, apt), ["deb.example"]);
        assert_eq!(hosts(Symbol::Debian, "Types: deb\nURIs: https://a.example/d https://b.example\n").len(), 2);
    }

    #[test]
    fn hosts_are_bounded_and_only_names() {
        let many: String = (0..200).map(|n| format!("deb http://h{n}.example/ x y\n")).collect();
        assert_eq!(hosts(Symbol::Debian, &many).len(), MAX_HOSTS);
        for text in ["deb http://10.0.0.1/ x y", "deb http://localhost/ x", "deb file:///srv x", "deb http://[::1]/ x"]
        {
            assert!(hosts(Symbol::Debian, text).is_empty(), "{text}");
        }
        assert!(Symbol::Crates.hosts(&[0xff; 1000]).is_empty());
    }
}
