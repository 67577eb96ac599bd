//! Content hashes of recipes, to tell whether an image was made from the recipe we would use now.
//!
//! A hash covers everything that goes into a layer except what the layers below bring, the time of a refresh and the
//! certificates of one machine.

use sha2::{Digest, Sha256};

use crate::base_image::Family;
use crate::selection::Catalog;
use crate::stage::{self, LOCKS_DIR, SCRIPTS_DIR, TMUX_DIR, TOAD_DIR};
use crate::{ImageError, help, render, tag};

/// SHA-256 of the parts with one NUL between them, in hexadecimal.
pub fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for (at, part) in parts.into_iter().enumerate() {
        if at > 0 {
            hash.update([0]);
        }
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())
}

/// Hash over names and contents of files.
pub fn tree<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hash = Sha256::new();
    for (name, bytes) in files {
        for part in [name.as_bytes(), bytes] {
            hash.update(part);
            hash.update([0]);
        }
    }
    hex::encode(hash.finalize())
}

fn folder(name: &str) -> String {
    let files = stage::content(name);
    tree(files.iter().map(|(file, bytes)| (file.as_str(), *bytes)))
}

/// Hash of a shared layer's recipe.
pub fn l0(base: &str, rendered: &str) -> String {
    let base = format!("base_image={}", crate::base_image::normalise(base));
    of([base.as_str(), rendered])
}

/// Hash of an agent layer's recipe: text, scripts, tmux configuration, Toad's agents, lock files, help lines.
pub fn l1(rendered: &str, catalog: &Catalog, agents: &[String]) -> String {
    let help = help::fragments(catalog, agents);
    let help = tree(help.iter().map(|(file, text)| (*file, text.as_bytes())));
    of([rendered, &folder(SCRIPTS_DIR), &folder(TMUX_DIR), &folder(TOAD_DIR), &folder(LOCKS_DIR), &help])
}

/// The hashes both layers would be built with now.
///
/// # Errors
/// Those of rendering.
pub fn current(
    base: &str,
    family: Family,
    catalog: &Catalog,
    agents: &[String],
) -> Result<(String, String), ImageError> {
    let l0_text = render::l0(base, family, false)?;
    let l1_text = render::l1(&tag::l0(base), family, catalog, agents, "0")?;
    Ok((l0(base, &l0_text), l1(&l1_text, catalog, agents)))
}
