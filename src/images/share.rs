//! How much room images need together, when they share layers.
//!
//! An image's size includes the layers below it. Here each layer counts once, for the first image that has it. What two
//! images share mostly is a third one, whose size is known; where they part in between, the sizes of single layers are
//! asked for. Without an answer the largest known part is taken: the sum may then be too large, but never too small.

use std::collections::{BTreeSet, HashMap};

use podman::ImageLayers;

/// Bytes each image adds to those before it; `sizes_of` gives the bytes of each layer of an image.
pub fn added(images: &[ImageLayers], sizes_of: &dyn Fn(&ImageLayers) -> Option<Vec<u64>>) -> Vec<u64> {
    let sizes: HashMap<&[String], u64> = images.iter().map(|image| (image.layers.as_slice(), image.size)).collect();
    let mut counted: BTreeSet<&[String]> = BTreeSet::new();
    let mut out = Vec::new();
    for image in images {
        let parts = || (1..=image.layers.len()).map(|n| &image.layers[..n]);
        let shared = parts().rev().find(|part| counted.contains(part)).map_or(0, <[String]>::len);
        let known = (1..=shared).rev().find_map(|n| Some((n, *sizes.get(&image.layers[..n])?)));
        let below = match known {
            Some((depth, size)) if depth == shared => size,
            _ if shared == 0 => 0,
            other => {
                let single = sizes_of(image).map(|each| each.iter().take(shared).sum());
                single.or(other.map(|(_, size)| size)).unwrap_or_default()
            }
        };
        out.push(image.size.saturating_sub(below));
        counted.extend(parts());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(layers: &str, size: u64) -> ImageLayers {
        let layers: Vec<String> = layers.chars().map(String::from).collect();
        ImageLayers { id: layers.concat(), layers, size, steps: Vec::new() }
    }

    // improves: 31-11.3-shared-layers
    #[test]
    fn a_layer_counts_once() {
        let never = |image: &ImageLayers| panic!("{} need not be asked for", image.id);
        let chain = [image("a", 100), image("ab", 150), image("abc", 151), image("abd", 160)];
        assert_eq!(added(&chain, &never), [100, 50, 1, 10]);
        assert_eq!(added(&[image("ab", 150), image("ab", 150)], &never), [150, 0]);
        assert_eq!(added(&[image("a", 5), image("b", 7), image("", 3)], &never), [5, 7, 3]);
        let fork = [image("a", 100), image("abx", 170), image("aby", 180)];
        assert_eq!(added(&fork, &|_| Some(vec![100, 50, 30])), [100, 70, 30]);
        assert_eq!(added(&fork, &|_| None), [100, 70, 80]);
        assert_eq!(added(&fork[1..], &|_| None), [170, 180]);
    }
}
