//! What a project's images were built from, kept beside its Dockerfiles.
//!
//! A manifest that cannot be read, or was written in another form, is no manifest. Single entries may be damaged: a
//! layer without a usable entry counts as outdated.

use std::path::Path;

use serde_json::Value;

use crate::ImageError;
use crate::project::Hashes;

/// Name of the file.
pub const FILE: &str = "build_manifest.json";
/// The form this version reads and writes.
pub const SCHEMA: u64 = 1;
const LIMIT: u64 = 1 << 20;

/// The manifest, or nothing.
pub fn read(path: &Path) -> Option<Value> {
    let manifest: Value = serde_json::from_slice(&base::file::read_regular(path, LIMIT).ok()?).ok()?;
    (manifest.get("schema")?.as_u64()? == SCHEMA).then_some(manifest)
}

/// Replaces the manifest; its directory is made when it is missing.
///
/// # Errors
/// [`ImageError::Manifest`]; the old one is untouched then.
pub fn write(path: &Path, manifest: &Value) -> Result<(), ImageError> {
    let fault = |source| ImageError::Manifest { path: path.to_owned(), source };
    let text = serde_json::to_string_pretty(manifest).map_err(|error| fault(error.into()))? + "\n";
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(fault)?;
    base::file::write_atomic(path, text.as_bytes(), base::file::PUBLIC).map_err(fault)
}

/// The layers (`l0`, `l1`, `l2`) that were built from something else than what these hashes stand for.
pub fn stale(now: &Hashes, manifest: Option<&Value>) -> Vec<&'static str> {
    let built = |entry: &str| manifest?.get(entry)?.get("content_hash")?.as_str();
    [("l0", "l0", &now.l0), ("l1", "l1", &now.l1), ("l2", "l2_cli", &now.l2)]
        .into_iter()
        .filter(|(_, entry, hash)| built(entry) != Some(hash.as_str()))
        .map(|(layer, _, _)| layer)
        .collect()
}
