//! Container images: names, recipes, contexts, builds.
//!
//! A recipe depends on the base image, its package family, the selected roster entries and nothing else: the same
//! inputs give the same text. Everything that enters a recipe from outside is validated first. No image holds a secret.

pub mod argv;
pub mod base_image;
pub mod bootstrap;
pub mod ca;
mod ending;
pub mod fault;
pub mod hash;
pub mod help;
pub mod layout;
pub mod lock;
pub mod manifest;
pub mod pipeline;
pub mod project;
pub mod render;
pub mod runner;
pub mod selection;
pub mod share;
pub mod sidecar;
pub mod snippet;
pub mod stage;
pub mod tag;

pub use fault::ImageError;
#[cfg(test)]
mod bundled_test;
#[cfg(test)]
mod pipeline_test;
#[cfg(test)]
mod project_test;
#[cfg(test)]
mod tables_test;

pub use pipeline::{BaseRequest, ImageSet, build_base, image_agents};
pub use runner::Output;
pub use selection::{Catalog, Entry, Selection};

/// Label that lists the installed roster entries, comma separated and sorted.
pub const AGENTS_LABEL: &str = "ai.terok.agents";
/// Label that lists the versions of what was installed from a package registry, `name=version`, comma separated.
pub const VERSIONS_LABEL: &str = "ai.terok.versions";
/// Label that lists the lock files that were installed from, `name=sha256:digest`, comma separated.
pub const LOCKS_LABEL: &str = "ai.terok.locks";
/// Label with the content hash of the recipe of the layer an image was built from.
pub const HASH_LABEL: &str = "ai.terok.recipe";
/// File in the image with the one line `TEROK_INSTALLED_AGENTS=<list>`.
pub const INSTALLED_ENV_PATH: &str = "/etc/terok/installed.env";
/// The base image of a user who names none.
pub const DEFAULT_BASE_IMAGE: &str = "fedora:44";
