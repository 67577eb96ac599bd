//! How much room images need together, when they share layers.
//!
//! An image's size includes the layers below it. Here each layer counts once, for the first image that has it. The size
//! of the shared part is the size of an image that consists of just these layers; where there is none, the largest
//! known part of it is taken, so that the sum may be too large but never too small.

use std::collections::{BTreeSet, HashMap};

use podman::ImageLayers;

/// Bytes each image adds to those before it. `known` are further images whose sizes help to tell parts apart.
pub fn added(images: &[ImageLayers], known: &[ImageLayers]) -> Vec<u64> {
    let sizes: HashMap<&[String], u64> =
        known.iter().chain(images).map(|image| (image.layers.as_slice(), image.size)).collect();
    let mut counted: BTreeSet<&[String]> = BTreeSet::new();
    let mut out = Vec::new();
    for image in images {
        let shared = (0..=image.layers.len()).rev().find(|n| *n == 0 || counted.contains(&image.layers[..*n]));
        let parts = (1..=shared.unwrap_or_default()).rev();
        let below = parts.filter_map(|n| sizes.get(&image.layers[..n])).next().copied().unwrap_or_default();
        out.push(image.size.saturating_sub(below));
        counted.extend((1..=image.layers.len()).map(|n| &image.layers[..n]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(layers: &str, size: u64) -> ImageLayers {
        ImageLayers { id: layers.into(), layers: layers.chars().map(String::from).collect(), size }
    }

    // improves: 31-11.3-shared-layers
    #[test]
    fn a_layer_counts_once() {
        let chain = [image("a", 100), image("ab", 150), image("abc", 151), image("abd", 160)];
        assert_eq!(added(&chain, &[]), [100, 50, 1, 10]);
        assert_eq!(added(&[image("ab", 150), image("ab", 150)], &[]), [150, 0]);
        // What is below the fork is known from an image without a name, or not at all.
        let fork = [image("abx", 170), image("aby", 180)];
        assert_eq!(added(&fork, &[image("ab", 150)]), [170, 30]);
        assert_eq!(added(&fork, &[]), [170, 180]);
        assert_eq!(added(&[image("", 5)], &[]), [5]);
    }
}
