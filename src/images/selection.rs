//! Which roster entries an image gets.
//!
//! The roster belongs to another room; it hands in a [`Catalog`]. Invariant: a resolved selection is sorted, without
//! duplicates, and closed over dependencies except for those the user excluded.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::ImageError;

/// Where an entry's line stands in the help of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Agents.
    #[default]
    Agent,
    /// Tools for developers.
    DevTool,
}

/// What a roster entry brings to an image.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Entry {
    /// False for an entry without an install section; it cannot be selected.
    pub installable: bool,
    /// Entries that have to be there as well.
    pub depends_on: Vec<String>,
    /// Dockerfile fragment for root, a template over `family`.
    pub run_as_root: String,
    /// Dockerfile fragment for the user `dev`, a template over `family`.
    pub run_as_dev: String,
    /// Line for the help of the container, with backslash escapes; blank for none.
    pub help_label: String,
    /// Where that line stands.
    pub help_section: Section,
}

/// All entries by name.
pub type Catalog = IndexMap<String, Entry>;

/// A selection as the user gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Selection {
    /// A word; only `all` is one.
    Word(String),
    /// Names to include, `-name` to exclude, `all` for everything.
    Tokens(Vec<String>),
}

impl Selection {
    /// Everything.
    pub fn all() -> Self {
        Self::Word("all".into())
    }

    /// A selection from text: comma separated, case does not matter, blank means everything.
    pub fn parse(raw: &str) -> Self {
        let text = raw.trim().to_lowercase();
        let tokens: Vec<String> = text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect();
        if tokens.is_empty() || text == "all" { Self::all() } else { Self::Tokens(tokens) }
    }

    /// True when the user asked for this entry by its name.
    pub fn names(&self, entry: &str) -> bool {
        matches!(self, Self::Tokens(tokens) if tokens.iter().any(|t| t == entry))
    }
}

/// The sorted names a selection stands for.
///
/// # Errors
/// [`ImageError::SelectionType`], [`ImageError::UnknownEntries`], [`ImageError::BadDependency`].
pub fn resolve(catalog: &Catalog, selection: &Selection) -> Result<Vec<String>, ImageError> {
    let every: BTreeSet<&str> = catalog.iter().filter(|(_, e)| e.installable).map(|(n, _)| n.as_str()).collect();
    let tokens = match selection {
        Selection::Word(word) if word == "all" => return Ok(every.iter().map(|n| (*n).to_owned()).collect()),
        Selection::Word(word) => return Err(ImageError::SelectionType(base::text::sanitize_tty(word))),
        Selection::Tokens(tokens) => tokens,
    };
    let excludes: Vec<&str> = tokens.iter().filter_map(|t| t.strip_prefix('-')).collect();
    let includes: Vec<&str> = tokens.iter().map(String::as_str).filter(|t| !t.starts_with('-')).collect();
    refuse_unknown(&every, includes.iter().filter(|n| **n != "all").chain(&excludes))?;
    let mut chosen = BTreeSet::new();
    if includes.is_empty() || includes.contains(&"all") {
        chosen.extend(every.iter().map(|n| (*n).to_owned()));
    }
    for name in includes.iter().filter(|n| **n != "all") {
        add_with_dependencies(catalog, name, &mut chosen)?;
    }
    for name in excludes {
        chosen.remove(name);
    }
    Ok(chosen.into_iter().collect())
}

fn refuse_unknown<'a>(every: &BTreeSet<&str>, names: impl Iterator<Item = &'a &'a str>) -> Result<(), ImageError> {
    let unknown: BTreeSet<String> =
        names.filter(|n| !every.contains(**n)).map(|n| base::text::sanitize_tty(n)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(ImageError::UnknownEntries {
        unknown: unknown.into_iter().collect::<Vec<_>>().join(", "),
        available: every.iter().copied().collect::<Vec<_>>().join(", "),
    })
}

fn add_with_dependencies(catalog: &Catalog, name: &str, chosen: &mut BTreeSet<String>) -> Result<(), ImageError> {
    if !chosen.insert(name.to_owned()) {
        return Ok(());
    }
    for dependency in catalog.get(name).map(|e| e.depends_on.as_slice()).unwrap_or_default() {
        if !catalog.get(dependency).is_some_and(|e| e.installable) {
            return Err(ImageError::BadDependency { entry: name.to_owned(), dependency: dependency.clone() });
        }
        add_with_dependencies(catalog, dependency, chosen)?;
    }
    Ok(())
}
