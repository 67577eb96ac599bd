//! Resolves the name of an image to its identifier, and checks what the image asks of podman and the OCI runtime.
//!
//! Podman hands the annotations of an image to the OCI runtime and to hooks as if the user had given them, and restores
//! a checkpoint where some of them are present. Images that carry such annotations are refused, on every podman: which
//! versions act on which annotation is not known.
//!
//! An answer is cached as long as podman's list of images is unchanged (inode, size, time of change). Invariant: a
//! cached identifier is one whose annotations were checked, so a stale answer never runs an unchecked image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call::Podman;
use crate::fault::PodmanError;
use crate::listing::{Stamp, settled, stamp};

const FILE: &str = "podman-images.json";
const LIMIT: u64 = 256 * 1024;
const MAX_NAMES: usize = 256;
const INSPECT: Duration = Duration::from_secs(30);
/// Annotations that podman, crun, runc, CRIU, systemd or our own hook act on.
const RESERVED: [&str; 13] = [
    "cdi.k8s.io/",
    "dossier.",
    "io.containers.",
    "io.kubernetes.cri-o.",
    "io.podman.annotations.",
    "krun.",
    "module.wasm.",
    "org.criu.",
    "org.opencontainers.runc.",
    "org.opencontainers.runtime.",
    "org.systemd.",
    "run.oci.",
    "terok.",
];
/// Labels that mark a checkpoint.
const RESERVED_LABELS: [&str; 2] = ["io.podman.annotations.checkpoint.", "org.criu."];

/// One image of the local store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageIdentity {
    /// Identifier: 64 hexadecimal digits.
    pub id: String,
    /// The annotation or label for which the image must not run.
    pub refused: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default)]
    config: Option<InspectedConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedConfig {
    #[serde(default)]
    labels: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Serialize, Deserialize)]
struct Cached {
    place: String,
    graph_root: PathBuf,
    witness: Stamp,
    images: BTreeMap<String, ImageIdentity>,
}

impl ImageIdentity {
    /// Reads `podman inspect --type image`; `None` when it is no description of one image.
    fn parse(json: &[u8]) -> Option<Self> {
        let [image] = <[Inspected; 1]>::try_from(serde_json::from_slice::<Vec<Inspected>>(json).ok()?).ok()?;
        let id = image.id.strip_prefix("sha256:").unwrap_or(&image.id).to_owned();
        if id.len() != 64 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let labels = image.config.and_then(|config| config.labels).into_iter().chain(image.labels);
        let mut refused = image.annotations.iter().flat_map(|all| all.keys()).find(|key| has(key, &RESERVED)).cloned();
        for all in labels {
            refused = refused.or_else(|| all.into_keys().find(|key| has(key, &RESERVED_LABELS)));
        }
        Some(Self { id, refused })
    }
}

fn has(key: &str, prefixes: &[&str]) -> bool {
    let key = key.trim().to_ascii_lowercase();
    prefixes.iter().any(|prefix| key.starts_with(prefix))
}

impl Podman {
    /// The image that a name stands for now; `None` when the local store has none.
    ///
    /// # Errors
    /// [`PodmanError`] when podman cannot be called or describes the image in an unknown way.
    pub fn image_identity(&self, reference: &str) -> Result<Option<ImageIdentity>, PodmanError> {
        let args = ["inspect", "--type", "image", reference];
        let output = self.call("inspect", reference, args).limit(INSPECT).output()?;
        if !output.ok() {
            return Ok(None);
        }
        let garbled = || PodmanError::Garbled {
            verb: "inspect",
            object: reference.to_owned(),
            found: "no description of one image".into(),
        };
        ImageIdentity::parse(&output.stdout).map(Some).ok_or_else(garbled)
    }

    /// As [`Podman::image_identity`], cached in `directory`.
    ///
    /// # Errors
    /// As [`Podman::image_identity`]. A cache that cannot be read or written is no fault.
    pub fn cached_image_identity(
        &self,
        reference: &str,
        directory: &Path,
    ) -> Result<Option<ImageIdentity>, PodmanError> {
        let Some(place) = self.place() else { return self.image_identity(reference) };
        let path = directory.join(FILE);
        let cached = read(&path).filter(|cached| cached.place == place);
        let root = cached.as_ref().map(|cached| cached.graph_root.clone());
        let before = root.as_deref().and_then(witness);
        let current = cached.filter(|cached| before.is_some() && cached.witness == before);
        if let Some(found) = current.as_ref().and_then(|cached| cached.images.get(reference)) {
            return Ok(Some(found.clone()));
        }
        let (root, before) = match root {
            Some(root) => (Some(root), before),
            None => {
                let root = self.graph_root();
                let before = root.as_deref().and_then(witness);
                (root, before)
            }
        };
        let found = self.image_identity(reference)?;
        if let (Some(graph_root), Some(image)) = (root, &found) {
            let after = witness(&graph_root).filter(|after| Some(*after) == before && settled(&[Some(*after)]));
            let mut images = current.map(|cached| cached.images).unwrap_or_default();
            if after.is_none() || images.len() >= MAX_NAMES {
                images.clear();
            }
            images.insert(reference.to_owned(), image.clone());
            // Without a witness only the storage directory is worth keeping.
            let fresh = Cached { place, graph_root, witness: after, images };
            let _ = base::file::write_private(&path, &serde_json::to_vec(&fresh).unwrap_or_default());
        }
        Ok(found)
    }

    /// Downloads an image.
    ///
    /// # Errors
    /// As [`crate::Call::output`]; a refusal is podman's exit status.
    pub fn pull(&self, reference: &str, watch: Option<crate::Watch<'_>>) -> Result<base::process::Output, PodmanError> {
        self.call("pull", reference, ["pull", "-q", reference]).watch(watch).output()
    }
}

/// Removes the cached identities, so that the next launch calls podman.
pub fn forget_identities(directory: &Path) {
    let _ = std::fs::remove_file(directory.join(FILE));
}

fn read(path: &Path) -> Option<Cached> {
    serde_json::from_slice(&base::file::read_regular(path, LIMIT).ok()?).ok()
}

/// The stamp of podman's list of images.
fn witness(graph_root: &Path) -> Stamp {
    stamp(&graph_root.join("overlay-images/images.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(annotations: &str, labels: &str) -> Option<String> {
        let id = "ab".repeat(32);
        let json = format!(r#"[{{"Id":"{id}","Annotations":{annotations},"Config":{{"Labels":{labels}}}}}]"#);
        let image = ImageIdentity::parse(json.as_bytes()).unwrap();
        assert_eq!(image.id, id);
        image.refused
    }

    // holds: image-annotations
    #[test]
    fn annotations_that_change_how_a_container_runs_are_found() {
        for key in [
            "io.podman.annotations.checkpoint.runtime.name",
            "IO.Podman.Annotations.privileged",
            "run.oci.seccomp_bpf_data",
            "run.oci.hooks.stdout",
            "org.criu.checkpoint.container.name",
            "org.systemd.property.CollectMode",
            "terok.sandbox.sidecar",
        ] {
            assert_eq!(parsed(&format!(r#"{{"{key}":"x"}}"#), "null").as_deref(), Some(key));
        }
        let label = "io.podman.annotations.checkpoint.name";
        assert_eq!(parsed("null", &format!(r#"{{"a":"b","{label}":"x"}}"#)).as_deref(), Some(label));
    }

    #[test]
    fn ordinary_annotations_and_labels_pass() {
        let annotations =
            r#"{"org.opencontainers.image.base.name":"x","com.docker.official-images.bashbrew.arch":"amd64"}"#;
        assert_eq!(parsed(annotations, r#"{"io.buildah.version":"1.28.2","terok.agents":"claude"}"#), None);
        assert_eq!(parsed("{}", "{}"), None);
    }

    #[test]
    fn only_the_description_of_one_image_is_read() {
        let id = "0".repeat(64);
        assert!(ImageIdentity::parse(format!(r#"[{{"Id":"sha256:{id}"}}]"#).as_bytes()).is_some());
        for bad in ["", "[]", "{}", r#"[{"Id":"--privileged"}]"#, &format!(r#"[{{"Id":"{id}"}},{{"Id":"{id}"}}]"#)] {
            assert!(ImageIdentity::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
