//! Whose name commits carry: git's own global settings, then `git` of `config.yml`, then `git` of `project.yml`.
//!
//! Git is asked once for both values, and again only when one of its files changed; without such a file it is not asked
//! at all. A git that is missing or fails counts as one without settings. Not read: `include` in git's files, as
//! `git config --global` leaves them out too.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use base::process::Run;
use base::shared::Shared;
use base::stamp::Stamp;
use serde_json::{Map, Value};

use crate::ProjectError;

/// Values of `git.authorship`, the default first.
pub const AUTHORSHIP_MODES: &[&str] = &["agent-human", "human-agent", "agent", "human"];
/// A git that answers later than this counts as one without settings.
const PATIENCE: Duration = Duration::from_secs(5);

/// Name and address as one layer knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// `user.name`.
    pub name: Option<String>,
    /// `user.email`.
    pub email: Option<String>,
}

/// The identity of a project, all layers together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Human name.
    pub name: String,
    /// Human address.
    pub email: String,
    /// One of [`AUTHORSHIP_MODES`].
    pub authorship: String,
}

/// Lays the `git` sections of `config.yml` and `project.yml` over git's own settings; later ones win, null does not count.
///
/// # Errors
/// [`ProjectError::Authorship`].
pub fn resolve(
    git: &Person,
    global: &Map<String, Value>,
    project: &Map<String, Value>,
) -> Result<Identity, ProjectError> {
    let top = |key: &str| [project, global].iter().find_map(|layer| layer.get(key)?.as_str().map(str::to_owned));
    let or = |value: Option<String>, own: &Option<String>, last: &str| {
        let value = value.or_else(|| own.clone()).filter(|text| !text.is_empty());
        value.unwrap_or_else(|| last.to_owned())
    };
    Ok(Identity {
        name: or(top("human_name"), &git.name, "Nobody"),
        email: or(top("human_email"), &git.email, "nobody@localhost"),
        authorship: normalize_authorship(top("authorship").as_deref())?,
    })
}

/// The mode a text means; nothing and blank mean the default.
///
/// # Errors
/// [`ProjectError::Authorship`].
pub fn normalize_authorship(value: Option<&str>) -> Result<String, ProjectError> {
    let text = value.unwrap_or_default();
    let mode = text.trim().to_lowercase();
    match mode.as_str() {
        "" => Ok(AUTHORSHIP_MODES[0].to_owned()),
        mode if AUTHORSHIP_MODES.contains(&mode) => Ok(mode.to_owned()),
        _ => Err(ProjectError::Authorship(text.to_owned())),
    }
}

/// Everything that decides what git answers.
#[derive(PartialEq, Eq)]
struct Question {
    environment: Vec<Option<OsString>>,
    files: Vec<Option<Stamp>>,
}

static ANSWER: Shared<Option<(Question, Person)>> = Shared::new();

/// What `git config --global` says.
pub fn git_global() -> Person {
    let files = files();
    let question = question(&files);
    if question.files.iter().all(Option::is_none) {
        return Person::default();
    }
    // Held while git runs: threads that ask at the same time share one answer.
    let mut guard = ANSWER.lock();
    match guard.as_ref() {
        Some((asked, answer)) if *asked == question => answer.clone(),
        _ => {
            // Judged before git reads them: it may take its time.
            let settled = question.files.iter().flatten().all(Stamp::is_settled);
            let answer = ask();
            *guard = settled.then(|| (question, answer.clone()));
            answer
        }
    }
}

fn files() -> Vec<PathBuf> {
    if let Some(only) = base::env::get("GIT_CONFIG_GLOBAL") {
        return vec![PathBuf::from(only)];
    }
    // Git itself looks at `HOME` alone: without it there are no global settings.
    let home = base::env::get("HOME").map(PathBuf::from);
    let xdg = base::env::get("XDG_CONFIG_HOME").map(PathBuf::from);
    let xdg = xdg.or_else(|| home.as_ref().map(|home| home.join(".config")));
    let pair = [home.map(|home| home.join(".gitconfig")), xdg.map(|xdg| xdg.join("git/config"))];
    pair.into_iter().flatten().collect()
}

fn question(files: &[PathBuf]) -> Question {
    let names = ["GIT_CONFIG_GLOBAL", "HOME", "XDG_CONFIG_HOME", "PATH"];
    Question {
        environment: names.iter().map(|name| base::env::get(name)).collect(),
        files: files.iter().map(|file| Stamp::of(file).ok()).collect(),
    }
}

fn ask() -> Person {
    let run = Run::new(["git", "config", "--global", "--null", "--list"]).limit(PATIENCE);
    match run.output() {
        Ok(output) if output.ok() => read(&output.text()),
        _ => Person::default(),
    }
}

/// Reads `key LF value NUL`; the last value of a key counts, a blank one does not.
fn read(listing: &str) -> Person {
    let mut person = Person::default();
    for entry in listing.split('\0') {
        let (key, value) = entry.split_once('\n').unwrap_or((entry, ""));
        let value = Some(value.trim().to_owned()).filter(|text| !text.is_empty());
        match key {
            "user.name" => person.name = value,
            "user.email" => person.email = value,
            _ => {}
        }
    }
    person
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn layers_follow_the_table() {
        let table = include_str!("../../tests/fixtures/project/identities.json");
        for case in serde_json::from_str::<Vec<Value>>(table).unwrap() {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let git = Person { name: text(&case["git"]["name"]), email: text(&case["git"]["email"]) };
            let found = resolve(&git, &map(&case["global"]), &map(&case["project"]));
            match (found, &case["is"]) {
                (Ok(id), is) => assert_eq!(json!([id.name, id.email, id.authorship]), *is, "{case}"),
                (Err(error), is) => {
                    assert!(is.is_null(), "{case}: {error}");
                    assert!(AUTHORSHIP_MODES.iter().all(|mode| error.to_string().contains(mode)), "{error}");
                }
            }
        }
    }

    #[test]
    fn listings_are_read_whole() {
        let listing = "core.x\ny\0user.name\nA\0user.email\na@x\0user.name\n  B C \0user.email\n\0bare\0";
        assert_eq!(read(listing), Person { name: Some("B C".into()), email: None });
        assert_eq!(read(""), Person::default());
    }
}
