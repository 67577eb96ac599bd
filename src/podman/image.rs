//! Images: what they are, what they carry, how they go.
//!
//! Queries give a neutral value on every failure. Names of containers never answer for images.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call::Podman;

const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(30);
/// Podman looks at every image of the store before it removes one.
const REMOVE: Duration = Duration::from_secs(120);
const ROW: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.Size}}\t{{.Created}}";

/// One line of the image list, in podman's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageRow {
    /// Identifier with its `sha256:` prefix.
    pub id: String,
    /// Repository, `<none>` when it has none.
    pub repository: String,
    /// Tag, `<none>` when it has none.
    pub tag: String,
    /// Size with its unit.
    pub size: String,
    /// Age.
    pub created: String,
}

/// The layers of an image, lowest first, and the bytes they take together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageLayers {
    /// Identifier with its `sha256:` prefix.
    pub id: String,
    /// Digests of the layers.
    pub layers: Vec<String>,
    /// Bytes.
    pub size: u64,
    /// For each step of the history, oldest first, whether it made a layer.
    pub steps: Vec<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedImage {
    id: String,
    #[serde(default)]
    size: u64,
    #[serde(rename = "RootFS")]
    root: Option<InspectedRoot>,
    #[serde(default)]
    history: Option<Vec<InspectedStep>>,
}

#[derive(Deserialize)]
struct InspectedStep {
    #[serde(default)]
    empty_layer: bool,
}

#[derive(Deserialize)]
struct SizedStep {
    #[serde(default)]
    size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedRoot {
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl Podman {
    /// Layers of these images, in one call; those that do not exist are left out, and all of them on every failure.
    pub fn image_layers(&self, ids: &[String]) -> Vec<ImageLayers> {
        if ids.is_empty() || ids.iter().any(|id| id.starts_with('-')) {
            return Vec::new();
        }
        let args = ["image", "inspect"].into_iter().chain(ids.iter().map(String::as_str));
        // An image that went in between makes the status non-zero; the others are told all the same.
        let Ok(output) = self.call("inspect", "images", args).limit(LONG).output() else { return Vec::new() };
        let found: Vec<InspectedImage> = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let plain = |image: InspectedImage| {
            let layers = image.root.and_then(|root| root.layers).unwrap_or_default();
            let steps = image.history.unwrap_or_default().iter().map(|step| !step.empty_layer).collect();
            let id = if image.id.contains(':') { image.id } else { format!("sha256:{}", image.id) };
            ImageLayers { id, layers, size: image.size, steps }
        };
        found.into_iter().map(plain).collect()
    }

    /// Bytes of each layer of an image, lowest first; nothing when podman's answers do not fit together.
    pub fn layer_sizes(&self, image: &ImageLayers) -> Option<Vec<u64>> {
        let args = ["image", "history", "--no-trunc", "--format", "json", image.id.as_str()];
        let text = self.call("read the history of", &image.id, args).limit(LONG).answer()?;
        let newest_first: Vec<SizedStep> = serde_json::from_str(&text).ok()?;
        if newest_first.len() != image.steps.len() {
            return None;
        }
        let oldest_first = newest_first.iter().rev().zip(&image.steps);
        let sizes: Vec<u64> = oldest_first.filter(|(_, made)| **made).map(|(step, _)| step.size).collect();
        (sizes.len() == image.layers.len()).then_some(sizes)
    }

    /// Identifier of an image.
    pub fn image_id(&self, reference: &str) -> Option<String> {
        self.call("inspect", reference, ["image", "inspect", "-f", "{{.Id}}", reference]).limit(SHORT).answer()
    }

    /// True when the image is in the local store.
    pub fn image_exists(&self, reference: &str) -> bool {
        let output = self.call("find", reference, ["image", "exists", reference]).limit(SHORT).output();
        output.is_ok_and(|o| o.ok())
    }

    /// Labels of an image.
    pub fn image_labels(&self, reference: &str) -> BTreeMap<String, String> {
        let args = ["image", "inspect", "--format", "{{json .Config.Labels}}", reference];
        let text = self.call("inspect", reference, args).limit(SHORT).answer();
        text.and_then(|t| serde_json::from_str::<Option<BTreeMap<String, String>>>(&t).ok())
            .flatten()
            .unwrap_or_default()
    }

    /// The commands that made an image, newest first, in full.
    pub fn image_history(&self, reference: &str) -> Vec<String> {
        let args = ["image", "history", "--no-trunc", "--format", "{{.CreatedBy}}", reference];
        let text = self.call("read the history of", reference, args).limit(LONG).answer().unwrap_or_default();
        text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect()
    }

    /// Removes an image unless a container uses it; true when it is gone.
    pub fn image_remove(&self, reference: &str) -> bool {
        self.call("remove", reference, ["image", "rm", reference]).limit(REMOVE).output().is_ok_and(|o| o.ok())
    }

    /// All images of the local store, or only those without a name.
    pub fn images(&self, dangling_only: bool) -> Vec<ImageRow> {
        let mut args = vec!["images"];
        if dangling_only {
            args.extend(["--filter", "dangling=true"]);
        }
        args.extend(["--format", ROW, "--no-trunc"]);
        let text = self.call("list", "images", args).limit(LONG).answer().unwrap_or_default();
        text.lines().filter_map(parse_row).collect()
    }
}

fn parse_row(line: &str) -> Option<ImageRow> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [repository, tag, id, size, created] = fields[..] else { return None };
    Some(ImageRow {
        id: id.to_owned(),
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        size: size.to_owned(),
        created: created.trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_five_columns() {
        let row = parse_row("localhost/bb\t1\tsha256:ab\t4.26 MB\t2 weeks ago").unwrap();
        assert_eq!((row.id.as_str(), row.tag.as_str(), row.size.as_str()), ("sha256:ab", "1", "4.26 MB"));
        assert_eq!(parse_row("a\tb\tc\td"), None);
        assert_eq!(parse_row("a\tb\tc\td\te\tf"), None);
    }
}
