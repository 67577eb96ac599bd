//! What the new-project wizard writes: the text of a `project.yml`, and the file.
//!
//! Invariants: a value from the wizard never becomes more than a value. Each is written by a quoting rule that leaves no
//! character which ends or continues a YAML scalar, and the whole text is read again and compared with what it should
//! say before anybody gets it. Refuses a base image or class the wizard does not offer.

use std::io;
use std::path::{Path, PathBuf};

use base::{file, yaml};
use minijinja::{Environment, UndefinedBehavior, context};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{ProjectError, change, id};

const TEMPLATE: &str = include_str!("../../python/terok/resources/templates/project.yml.j2");
/// The wizard's base images: slug, label, image.
pub const BASES: &[(&str, &str, &str)] = &[
    ("fedora", "Fedora 44", "fedora:44"),
    ("nvidia", "NVIDIA CUDA (GPU)", "nvcr.io/nvidia/nvhpc:25.9-devel-cuda13.0-ubuntu24.04"),
    ("podman", "Podman (Fedora-based)", "quay.io/podman/stable:latest"),
    ("ubuntu", "Ubuntu 24.04", "ubuntu:24.04"),
];

/// What somebody answered; all but the last two must be there.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Answers {
    /// Id of the project.
    pub project_id: Option<String>,
    /// Where the code comes from; may be blank.
    pub upstream_url: Option<String>,
    /// Branch to begin with; may be blank.
    pub default_branch: Option<String>,
    /// Lines for the Dockerfile; may be blank.
    pub user_snippet: Option<String>,
    /// `online` or `gatekeeping`.
    pub security_class: Option<String>,
    /// Slug of a base image.
    pub base: Option<String>,
    /// Selection of agents.
    pub agents: Option<String>,
    /// `shared` or `project`.
    pub credentials_scope: Option<String>,
}

/// The answers, checked; also what the template sees.
#[derive(Debug, Serialize)]
struct Values {
    project_id: String,
    security_class: String,
    upstream_url: String,
    default_branch: String,
    base: String,
    base_image: &'static str,
    agents: String,
    credentials_scope: String,
}

/// The text of a `project.yml` for these answers, with a final newline.
///
/// # Errors
/// [`ProjectError::Missing`] or [`ProjectError::UnknownBase`] (a `KeyError` in Python), [`ProjectError::Render`] when
/// the text would not say exactly what was answered.
pub fn render(answers: &Answers) -> Result<String, ProjectError> {
    let need = |value: &Option<String>, key| value.clone().ok_or(ProjectError::Missing(key));
    let base = need(&answers.base, "base")?;
    let row = BASES.iter().find(|(slug, ..)| *slug == base);
    let base_image = row.ok_or_else(|| ProjectError::UnknownBase(base.clone()))?.2;
    let security_class = need(&answers.security_class, "security_class")?;
    if !["online", "gatekeeping"].contains(&security_class.as_str()) {
        return Err(ProjectError::Render(format!(
            "`{}` is no security class",
            base::text::sanitize_tty(&security_class)
        )));
    }
    let project_id = need(&answers.project_id, "project_id")?;
    id::check(&project_id)?;
    let written = snippet(&need(&answers.user_snippet, "user_snippet")?);
    let values = Values {
        project_id,
        security_class,
        upstream_url: need(&answers.upstream_url, "upstream_url")?,
        default_branch: need(&answers.default_branch, "default_branch")?,
        base,
        base_image,
        agents: answers.agents.clone().unwrap_or_default(),
        credentials_scope: answers.credentials_scope.clone().unwrap_or_default(),
    };
    let expected = expected(&values, &written);
    for snippet in [block(&written), Some(quoted(&written))].into_iter().flatten() {
        let text = fill(&values, &snippet)?;
        if yaml::parse(&text).is_ok_and(|read| read == expected) {
            return Ok(text);
        }
    }
    Err(ProjectError::Render("an answer holds characters that YAML cannot hold".to_owned()))
}

fn fill(values: &Values, snippet: &str) -> Result<String, ProjectError> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_trim_blocks(true);
    engine.set_lstrip_blocks(true);
    engine.set_keep_trailing_newline(true);
    engine.add_filter("quoted", |text: &str| quoted(text));
    let context = context! { snippet, ..minijinja::Value::from_serialize(values) };
    let filled = engine.render_named_str("project.yml", TEMPLATE, context);
    filled.map_err(|error| ProjectError::Render(error.to_string()))
}

fn expected(values: &Values, snippet: &str) -> Value {
    let mut image = json!({"base_image": values.base_image, "user_snippet_inline": snippet});
    if !values.agents.is_empty() {
        image["agents"] = json!(values.agents);
    }
    let mut all = json!({
        "project": {"id": values.project_id, "security_class": values.security_class},
        "git": {"upstream_url": values.upstream_url, "default_branch": values.default_branch},
        "image": image,
    });
    if values.base == "nvidia" {
        all["run"] = json!({"gpus": "all"});
    }
    if values.security_class == "gatekeeping" {
        let polling = json!({"enabled": true, "interval_minutes": 5});
        all["gatekeeping"] = json!({"expose_external_remote": true, "upstream_polling": polling});
    }
    if values.credentials_scope == "project" {
        all["credentials"] = json!({"scope": "project"});
    }
    all
}

/// A text as a double-quoted YAML scalar of printable characters: JSON's form, and escapes for what JSON leaves as it is
/// but some reader of YAML takes for a line break or refuses.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    for c in Value::from(text).to_string().chars() {
        match u32::from(c) {
            code if c.is_alphanumeric() || (0x20..0x7f).contains(&code) => out.push(c),
            code @ 0..=0xffff => out.push_str(&format!("\\u{code:04x}")),
            code => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out
}

/// The lines of a Dockerfile as they are kept: one kind of line break, nothing blank at the end but the last break.
fn snippet(answer: &str) -> String {
    let text = answer.replace("\r\n", "\n");
    match text.trim_end() {
        "" => String::new(),
        text => format!("{text}\n"),
    }
}

/// Such lines as a literal block below a key that is indented by two; `None` when some reader of YAML would see a line
/// break where there is none for us.
fn block(lines: &str) -> Option<String> {
    let breaks =
        |c: char| (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    if lines.contains(breaks) {
        return None;
    }
    // Without the number, blanks in front of the first line would count as indentation.
    let head = if lines.starts_with([' ', '\t', '\n']) { "|2" } else { "|" };
    let indent = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("\n    {line}") };
    Some(format!("{head}{}", lines.lines().map(indent).collect::<String>()))
}

/// Writes `text` as the `project.yml` of project `id`; an existing file stays unless `overwrite`. Returns its path.
///
/// # Errors
/// [`ProjectError::BadId`], [`ProjectError::Write`].
pub fn write(projects: &Path, id: &str, text: &str, overwrite: bool) -> Result<PathBuf, ProjectError> {
    id::check(id)?;
    let dir = projects.join(id);
    let path = dir.join("project.yml");
    file::create_private_dir(&dir).map_err(ProjectError::write(&dir))?;
    let published = change::publish(&path, text, overwrite).map_err(ProjectError::write(&path));
    if published.is_err() {
        // Goes only when there is nothing in it.
        let _ = std::fs::remove_dir(&dir);
    }
    let is_new = published?;
    // A link to nothing is in the way of a new file and is no file itself.
    match is_new || path.exists() {
        true => Ok(path),
        false => Err(ProjectError::write(&path)(io::Error::other("a link that leads nowhere has this name"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(base: &str, class: &str) -> Answers {
        let some = |text: &str| Some(text.to_owned());
        Answers {
            project_id: some("web-app"),
            upstream_url: some("https://example.org/r.git"),
            default_branch: some(""),
            user_snippet: some("RUN a \\\n    b\n\n# end\n\n"),
            security_class: some(class),
            base: some(base),
            ..Answers::default()
        }
    }

    #[test]
    fn every_combination_says_what_was_answered() {
        for (base, _, image) in BASES {
            for class in ["online", "gatekeeping"] {
                for (agents, scope) in [(None, None), (Some("claude,-gh"), Some("project")), (Some(""), Some("shared"))]
                {
                    let mut given = answers(base, class);
                    (given.agents, given.credentials_scope) = (agents.map(str::to_owned), scope.map(str::to_owned));
                    let text = render(&given).unwrap();
                    let read = yaml::parse(&text).unwrap();
                    assert_eq!(read["image"]["base_image"], *image);
                    assert_eq!(read["image"]["user_snippet_inline"], "RUN a \\\n    b\n\n# end\n");
                    assert_eq!(read["run"]["gpus"] == "all", *base == "nvidia");
                    assert_eq!(read.get("gatekeeping").is_some(), class == "gatekeeping");
                    assert_eq!(read["credentials"]["scope"] == "project", scope == Some("project"));
                    assert_eq!(read["image"].get("agents").is_some(), agents == Some("claude,-gh"));
                    assert!(text.contains("id: \"web-app\"") && text.contains("default_branch: \"\""), "{text}");
                    assert!(text.contains("user_snippet_inline: |\n    RUN a \\\n        b\n\n    # end\n"), "{text}");
                    assert!(text.starts_with("# ") && text.ends_with('\n') && !text.contains("\n\n\n"), "{text}");
                }
            }
        }
    }

    // improves: 30-10.4-injection 30-10.4-snippet
    #[test]
    fn hostile_answers_stay_values() {
        let table = include_str!("../../tests/fixtures/project/hostile_answers.json");
        for hostile in serde_json::from_str::<Vec<String>>(table).unwrap() {
            let mut given = answers("ubuntu", "online");
            given.upstream_url = Some(hostile.clone());
            given.default_branch = Some(hostile.clone());
            given.agents = Some(hostile.clone());
            given.user_snippet = Some(hostile.clone());
            let text = render(&given).unwrap_or_else(|error| panic!("{hostile:?}: {error}"));
            let read = yaml::parse(&text).unwrap();
            let keys: Vec<_> = read.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(keys, ["project", "git", "image"], "{hostile:?}");
            assert_eq!(
                (&read["git"]["upstream_url"], &read["git"]["default_branch"]),
                (&hostile.clone().into(), &hostile.clone().into())
            );
            assert_eq!(read["image"]["user_snippet_inline"], snippet(&hostile), "{text}");
            let plain = |c: char| c == '\n' || c == '\t' || c.is_alphanumeric() || (' '..='~').contains(&c);
            let outside_block = text.split("user_snippet_inline").next().unwrap();
            assert!(outside_block.chars().all(plain), "{text:?}");
            // Older readers take these for line breaks, wherever they stand.
            assert!(!text.contains(['\u{85}', '\u{2028}', '\u{2029}', '\r']), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_offered_is_refused() {
        type Change = fn(&mut Answers);
        let cases: [(Change, &str); 6] = [
            (|a| a.base = Some("debian".into()), "wizard-base-unknown"),
            (|a| a.base = None, "wizard-answer-missing"),
            (|a| a.upstream_url = None, "wizard-answer-missing"),
            (|a| a.security_class = Some("open".into()), "project-render"),
            (|a| a.project_id = Some("a\nrun: {}".into()), "project-id"),
            (|a| a.project_id = Some("default".into()), "project-id"),
        ];
        for (change, code) in cases {
            let mut given = answers("ubuntu", "online");
            change(&mut given);
            assert_eq!(base::fault::Fault::code(&render(&given).unwrap_err()), code);
        }
    }

    // improves: 30-10.3-write-id
    #[test]
    fn files_are_written_below_the_projects_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "web-app", "a: 1\n", false).unwrap();
        assert_eq!(path, dir.path().join("web-app/project.yml"));
        assert_eq!(write(dir.path(), "web-app", "b: 1\n", false).unwrap(), path);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a: 1\n");
        write(dir.path(), "web-app", "b: 1\n", true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b: 1\n");
        for id in ["../x", "", "/tmp/x", "default"] {
            assert!(write(dir.path(), id, "", true).is_err(), "{id:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_to_nothing_is_not_taken_for_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "p", "a: 1\n", false).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        let refused = base::fault::explain(&write(dir.path(), "p", "a: 1\n", false).unwrap_err());
        assert!(refused.contains("p/project.yml") && refused.contains("leads nowhere"), "{refused}");
    }
}
