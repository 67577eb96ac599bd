//! What this podman can do, from one JSON `podman info` that is asked once and remembered.
//!
//! The answer is kept in a private file beside the runtime state, keyed by the podman binary (path, size, time of
//! change) and the caller's configuration variables, so that a launch pays for it once per boot and not once per
//! container. A cached answer that cannot be read is asked anew; a podman that cannot be asked is assumed to be old.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call::Podman;
use crate::fault::PodmanError;

/// Oldest version we work with.
pub const OLDEST: (u32, u32) = (4, 3);
const LIMIT: Duration = Duration::from_secs(10);
const CACHE_LIMIT: u64 = 64 * 1024;

/// How a rootless container reaches the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootlessNetwork {
    /// User-mode stack of podman 4.
    Slirp4netns,
    /// User-mode stack of podman 5.
    Pasta,
}

/// The capabilities we ask about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Version as podman prints it.
    pub version: String,
    /// Network command of rootless containers.
    pub network: RootlessNetwork,
    /// True when podman itself runs rootless.
    pub rootless: bool,
    /// Rows of the uid map; fewer than two when no subordinate ids are assigned.
    pub uid_rows: usize,
    /// CDI specification files that podman knows; empty when it does not say.
    pub cdi_specs: Vec<String>,
}

impl Info {
    /// The first two numbers of the version; zeros when it cannot be read.
    pub fn version_pair(&self) -> (u32, u32) {
        version_pair(&self.version)
    }

    /// Reads the JSON of `podman info`; unknown members are ignored, missing ones get the value of old versions.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let root: serde_json::Value = serde_json::from_slice(text).ok()?;
        let host = root.get("host")?;
        let version = root.pointer("/version/Version")?.as_str()?.to_owned();
        let list = |v: Option<&serde_json::Value>| v.and_then(|v| v.as_array()).cloned().unwrap_or_default();
        Some(Self {
            network: network(host, &version),
            rootless: host.pointer("/security/rootless").and_then(|v| v.as_bool()).unwrap_or(false),
            uid_rows: list(host.pointer("/idMappings/uidmap")).len(),
            cdi_specs: list(host.get("cdiSpecs").or_else(|| host.get("CDISpecs")))
                .iter()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect(),
            version,
        })
    }
}

/// Named by podman itself, else by what is installed, else by the default of the version.
fn network(host: &serde_json::Value, version: &str) -> RootlessNetwork {
    let named = host.get("rootlessNetworkCmd").and_then(|v| v.as_str());
    match named {
        Some("pasta") => RootlessNetwork::Pasta,
        Some("slirp4netns") => RootlessNetwork::Slirp4netns,
        _ if version_pair(version) >= (5, 0) => RootlessNetwork::Pasta,
        _ => RootlessNetwork::Slirp4netns,
    }
}

fn version_pair(version: &str) -> (u32, u32) {
    let mut numbers = version.split('.').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    });
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// A remembered answer and what it was the answer of.
#[derive(Serialize, Deserialize)]
struct Cached {
    key: String,
    info: Info,
}

impl Podman {
    /// Asks podman now.
    ///
    /// # Errors
    /// [`PodmanError`] when it cannot be asked, or answers with something else than its description.
    pub fn info(&self) -> Result<Info, PodmanError> {
        let output = self.call("describe", "podman", ["info", "--format", "json"]).limit(LIMIT).success()?;
        Info::parse(&output.stdout).ok_or_else(|| PodmanError::Garbled {
            verb: "describe",
            object: "podman".into(),
            found: "no usable JSON".into(),
        })
    }

    /// The remembered description, or podman's own when there is none for this binary; remembered in `directory`.
    ///
    /// # Errors
    /// As [`Podman::info`]. A cache that cannot be written is no fault.
    pub fn cached_info(&self, directory: &Path) -> Result<Info, PodmanError> {
        let Some(key) = self.cache_key() else { return self.info() };
        let path = directory.join("podman-info.json");
        if let Some(info) = read_cache(&path, &key) {
            return Ok(info);
        }
        let info = self.info()?;
        let text = serde_json::to_vec(&Cached { key, info: info.clone() }).unwrap_or_default();
        let _ = base::file::write_private(&path, &text);
        Ok(info)
    }

    /// Where `PATH` leads for this program.
    pub fn resolved(&self) -> Option<PathBuf> {
        let program = Path::new(self.program());
        if program.components().count() > 1 {
            return program.is_file().then(|| program.to_path_buf());
        }
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join(program)).find(|candidate| is_executable(candidate))
    }

    /// What tells this program and its configuration from another; `None` when there is no such program.
    pub(crate) fn cache_key(&self) -> Option<String> {
        let path = self.resolved()?;
        let meta = std::fs::metadata(&path).ok()?;
        let variables = ["CONTAINERS_CONF", "CONTAINERS_CONF_OVERRIDE", "HOME", "XDG_CONFIG_HOME"]
            .map(|name| std::env::var(name).unwrap_or_default())
            .join("\u{1f}");
        let (size, mtime, uid) = (meta.len(), meta.mtime_nsec() ^ meta.mtime(), base::user::effective_uid());
        Some(format!("{}|{size}|{mtime}|{uid}|{variables}", path.display()))
    }
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0)
}

fn read_cache(path: &Path, key: &str) -> Option<Info> {
    let text = base::file::read_regular(path, CACHE_LIMIT).ok()?;
    let cached: Cached = serde_json::from_slice(&text).ok()?;
    (cached.key == key).then_some(cached.info)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(host: &str, version: &str) -> Info {
        Info::parse(format!(r#"{{"host":{host},"version":{{"Version":"{version}"}}}}"#).as_bytes()).unwrap()
    }

    #[test]
    fn network_is_taken_from_the_answer_or_the_version() {
        for (host, version, expected) in [
            (r#"{"slirp4netns":{"executable":"/usr/bin/slirp4netns"}}"#, "4.3.1", RootlessNetwork::Slirp4netns),
            ("{}", "5.0.0", RootlessNetwork::Pasta),
            (r#"{"rootlessNetworkCmd":"slirp4netns"}"#, "5.4.2", RootlessNetwork::Slirp4netns),
            (r#"{"rootlessNetworkCmd":"pasta"}"#, "5.4.2", RootlessNetwork::Pasta),
            (r#"{"rootlessNetworkCmd":""}"#, "4.9.3", RootlessNetwork::Slirp4netns),
        ] {
            assert_eq!(parsed(host, version).network, expected, "{host} {version}");
        }
    }

    #[test]
    fn version_and_maps() {
        let info = parsed(r#"{"security":{"rootless":true},"idMappings":{"uidmap":[{},{}]}}"#, "5.10.0-rc1");
        assert_eq!((info.version_pair(), info.rootless, info.uid_rows), ((5, 10), true, 2));
        assert_eq!(version_pair("4.3.1+ds1"), (4, 3));
        assert!(Info::parse(b"{}").is_none());
    }

    #[test]
    fn the_answer_is_remembered_per_binary() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("podman");
        let write = |version: &str| {
            let script = format!(
                "#!/bin/sh\necho x >>{}/calls\necho '{{\"host\":{{}},\"version\":{{\"Version\":\"{version}\"}}}}'\n",
                dir.path().display()
            );
            std::fs::write(&program, script).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        write("4.3.1");
        let podman = Podman::at(&program);
        for _ in 0..3 {
            assert_eq!(podman.cached_info(dir.path()).unwrap().version, "4.3.1");
        }
        assert_eq!(std::fs::read_to_string(dir.path().join("calls")).unwrap(), "x\n");
        write("5.10.22");
        assert_eq!(podman.cached_info(dir.path()).unwrap().version, "5.10.22");
    }
}
