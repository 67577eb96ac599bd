//! Names of tasks: what a person may type, and names that are made up.
//!
//! A name is lower-case ASCII, at most 60 characters, and can be part of a path or a branch as it is. Refuses a name that
//! a program would take for an option.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use md5::{Digest, Md5};

use crate::fault::TaskError;
use crate::twister::Twister;

/// Longest name, in characters.
pub const MAX_LEN: usize = 60;
const DEFAULT_CATEGORIES: usize = 3;

/// The name that `raw` becomes, `None` when nothing of it is left.
pub fn sanitise(raw: &str) -> Option<String> {
    let mut name = String::new();
    for c in raw.trim().to_lowercase().chars() {
        match c {
            ' ' | '-' if !name.ends_with('-') => name.push('-'),
            'a'..='z' | '0'..='9' | '_' => name.push(c),
            _ => {}
        }
    }
    name.truncate(MAX_LEN);
    name.truncate(name.trim_end_matches('-').len());
    (!name.is_empty()).then_some(name)
}

/// What is wrong with a name that was sanitised, if anything.
pub fn objection(name: &str) -> Option<&'static str> {
    name.starts_with('-').then_some("a task name cannot start with a hyphen")
}

struct Words {
    lists: BTreeMap<&'static str, Vec<&'static str>>,
    categories: BTreeMap<&'static str, Vec<&'static str>>,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let mut words = Words { lists: BTreeMap::new(), categories: BTreeMap::new() };
    for line in include_str!("words.txt").lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, list)) = line.split_once(": ") {
            words.lists.insert(name, list.split(' ').collect());
        } else if let Some((name, lists)) = line.split_once(" = ") {
            words.categories.insert(name, lists.split(' ').collect());
        }
    }
    words
});

/// All categories of names, sorted.
pub fn categories() -> Vec<&'static str> {
    WORDS.categories.keys().copied().collect()
}

/// The three categories of a project that chose none: always the same ones for the same project.
pub fn default_categories(project: &str) -> Vec<&'static str> {
    let seed = u128::from_be_bytes(Md5::digest(project.as_bytes()).into());
    let all = categories();
    Twister::new(seed).sample(all.len(), DEFAULT_CATEGORIES).into_iter().map(|at| all[at]).collect()
}

/// A name of an adjective and a noun of one of `chosen`; of any category when none is chosen.
///
/// # Errors
/// [`TaskError::Category`] for a category that does not exist.
pub fn generate(chosen: &[String]) -> Result<String, TaskError> {
    if let Some(unknown) = chosen.iter().find(|name| !WORDS.categories.contains_key(name.as_str())) {
        return Err(TaskError::Category(unknown.clone()));
    }
    let all = categories();
    let category = if chosen.is_empty() { *pick(&all) } else { pick(chosen).as_str() };
    let list = pick(&WORDS.categories[category]);
    let (adjective, noun) = (pick(&WORDS.lists["adjectives"]), pick(&WORDS.lists[list]));
    Ok(sanitise(&format!("{adjective}-{noun}")).expect("the lists hold words"))
}

fn pick<T>(items: &[T]) -> &T {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).expect("the kernel's random generator answers");
    let at = u64::from_le_bytes(bytes) % items.len() as u64;
    &items[usize::try_from(at).unwrap_or(0)]
}
