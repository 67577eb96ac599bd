//! Is there a GPU that podman can hand to a container?

use std::path::{Path, PathBuf};

use crate::call::Podman;

/// What a CDI specification of the supported vendor names.
pub const VENDOR: &str = "nvidia.com/gpu";
const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
const SPEC_LIMIT: u64 = 4 * 1024 * 1024;

impl Podman {
    /// True when a readable CDI specification names the vendor's devices; never fails.
    pub fn gpu_available(&self) -> bool {
        let named = self.info().map(|info| info.cdi_specs).unwrap_or_default();
        let specs = if named.is_empty() {
            scan(&DIRECTORIES.map(Path::new))
        } else {
            named.into_iter().map(PathBuf::from).collect()
        };
        specs.iter().any(|path| names_vendor(path))
    }
}

fn scan(directories: &[&Path]) -> Vec<PathBuf> {
    let entries = directories.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|t| t.is_file())).map(|entry| entry.path()).collect()
}

fn names_vendor(path: &Path) -> bool {
    let Ok(meta) = std::fs::metadata(path) else { return false };
    meta.is_file()
        && meta.len() <= SPEC_LIMIT
        && std::fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(VENDOR))
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
}
