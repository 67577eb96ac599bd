//! Global settings and projects, as files: schemas with exact errors, discovery, derivation, presets, the wizard's text.
//!
//! Invariants:
//! - reading never writes, starts no container and never fails for one broken project: it is returned as broken;
//! - an identifier is checked before it becomes part of a path;
//! - whatever is written is written whole or not at all, and keeps the comments of its author;
//! - values never break out of the YAML they are put into.

pub mod change;
mod coerce;
pub mod discover;
mod document;
mod fault;
pub mod id;
pub mod identity;
pub mod log;
pub mod model;
pub mod place;
pub mod preset;
pub mod schema;
mod schema_table;
pub mod setting;
pub mod wizard;

#[cfg(test)]
mod tests;

pub use fault::ProjectError;
