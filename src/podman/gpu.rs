//! Is there a GPU that podman can hand to a container?

use std::path::{Path, PathBuf};

use crate::call::Podman;

/// What a CDI specification of the supported vendor names.
pub const VENDOR: &str = "nvidia.com/gpu";
const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
const SPEC_LIMIT: u64 = 4 * 1024 * 1024;

impl Podman {
    /// True when a readable CDI specification names the vendor's devices; never fails.
    ///
    /// Front ends ask while they draw: podman is started only where its settings name directories of their own.
    pub fn gpu_available(&self) -> bool {
        if scan(&DIRECTORIES.map(Path::new)).iter().any(|path| names_vendor(path)) {
            return true;
        }
        let named = || self.info().map(|info| info.cdi_specs).unwrap_or_default();
        settings().iter().any(|path| names_directories(path)) && named().iter().any(|path| names_vendor(path.as_ref()))
    }
}

/// Every file podman may take its settings from.
fn settings() -> Vec<PathBuf> {
    let named = ["CONTAINERS_CONF", "CONTAINERS_CONF_OVERRIDE"].map(std::env::var_os);
    let mut files: Vec<_> = named.into_iter().flatten().map(PathBuf::from).collect();
    let own = std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let own = own.or_else(|| base::path::home().map(|home| home.join(".config")));
    let common = ["/usr/share", "/etc"].map(PathBuf::from);
    for dir in common.into_iter().chain(own).map(|dir| dir.join("containers")) {
        files.extend(scan(&[&dir.join("containers.conf.d")]));
        files.push(dir.join("containers.conf"));
    }
    files
}

/// Looks at the text of a file of sensible size.
fn holds(path: &Path, look: impl Fn(&str) -> bool) -> bool {
    let fits = std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= SPEC_LIMIT);
    fits && std::fs::read(path).is_ok_and(|bytes| look(&String::from_utf8_lossy(&bytes)))
}

fn names_directories(path: &Path) -> bool {
    holds(path, |text| text.lines().any(|line| line.trim_start().starts_with("cdi_spec_dirs")))
}

fn scan(directories: &[&Path]) -> Vec<PathBuf> {
    let entries = directories.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

fn names_vendor(path: &Path) -> bool {
    holds(path, |text| text.contains(VENDOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_readable_files_of_the_vendor_count() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("other.yaml"), "kind: vendor.example/x").unwrap();
        assert!(!scan(&[dir.path()]).iter().any(|p| names_vendor(p)));
        std::fs::write(dir.path().join("nv.yaml"), "kind: nvidia.com/gpu").unwrap();
        assert!(scan(&[dir.path()]).iter().any(|p| names_vendor(p)));
        assert!(!names_vendor(&dir.path().join("gone")));
    }

    #[test]
    fn podman_is_asked_only_about_directories_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("containers.conf");
        for (text, named) in [
            ("[engine]\n# cdi_spec_dirs = [\"/x\"]\n", false),
            ("[engine]\n  cdi_spec_dirs = [\"/x\"]\n", true),
            ("", false),
        ] {
            std::fs::write(&conf, text).unwrap();
            assert_eq!(names_directories(&conf), named, "{text}");
        }
        assert!(settings().iter().any(|path| path == Path::new("/etc/containers/containers.conf")));
    }
}
