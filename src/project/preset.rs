//! Presets: named agent configurations, of a project, of the user, or bundled.
//!
//! Invariants: a name is checked before it becomes part of a path; the first tier that has a name wins, and within a
//! tier `.yml` before `.yaml`. Refuses files that hold anything but one mapping.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base::path::resolve;
use base::yaml::{self, YamlError};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::model::anchor_files;
use crate::{ProjectError, document, place};

const ENDINGS: [&str; 2] = ["yml", "yaml"];
const LONGEST: usize = 128;

/// Where presets are looked for, the first one first.
#[derive(Debug)]
pub struct Tiers(Vec<(&'static str, PathBuf)>);

/// A preset there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preset {
    /// Its name.
    pub name: String,
    /// `project`, `global` or `bundled`.
    pub source: &'static str,
    /// Its file.
    pub path: PathBuf,
}

impl Tiers {
    /// Those of the project with directory `root`; `bundled` is the directory of the bundled ones.
    ///
    /// # Errors
    /// [`ProjectError::Path`] when there is no home directory.
    pub fn of(root: &Path, bundled: &Path) -> Result<Self, ProjectError> {
        let (project, user) = (root.join("presets"), place::user_presets_dir()?);
        Ok(Self(vec![("project", project), ("global", user), ("bundled", bundled.to_owned())]))
    }

    /// All presets by name.
    pub fn list(&self) -> Vec<Preset> {
        let mut found = BTreeMap::new();
        for (source, dir) in &self.0 {
            for ending in ENDINGS {
                for (name, path) in files(dir, ending) {
                    found.entry(name.clone()).or_insert(Preset { name, source, path });
                }
            }
        }
        found.into_values().collect()
    }

    /// The preset of that name, if there is one.
    ///
    /// # Errors
    /// [`ProjectError::BadPreset`].
    pub fn find(&self, name: &str) -> Result<Option<Preset>, ProjectError> {
        if !is_name(name) {
            return Err(ProjectError::BadPreset(name.to_owned()));
        }
        let places = self.0.iter().flat_map(|(source, dir)| ENDINGS.map(|ending| (*source, dir, ending)));
        let mut files = places.map(|(source, dir, ending)| (source, dir.join(format!("{name}.{ending}"))));
        let found = files.find(|(_, path)| path.is_file());
        Ok(found.map(|(source, path)| Preset { name: name.to_owned(), source, path }))
    }

    /// The content of a preset, with the files of its subagents made absolute, and the preset itself.
    ///
    /// # Errors
    /// [`ProjectError::NoPreset`], or as the file is unreadable or no mapping.
    pub fn load(&self, name: &str) -> Result<(Map<String, Value>, Preset), ProjectError> {
        let preset = self.find(name)?.ok_or_else(|| self.unknown(name))?;
        let read = document::read(&preset.path)?;
        let Value::Object(mut content) = read else {
            let source = YamlError::NotMapping(yaml::type_name(&read));
            return Err(ProjectError::Yaml { path: preset.path, source });
        };
        anchor_files(&mut content, preset.path.parent().unwrap_or(Path::new("/")), |written| resolve(&written));
        Ok((content, preset))
    }

    fn unknown(&self, name: &str) -> ProjectError {
        let names: Vec<_> = self.list().into_iter().map(|preset| preset.name).collect();
        let known = match names.is_empty() {
            true => "there are no presets".to_owned(),
            false => format!("available: {}", names.join(", ")),
        };
        ProjectError::NoPreset { name: name.to_owned(), known }
    }
}

/// Names and files with this ending; a directory that cannot be listed has none.
fn files(dir: &Path, ending: &str) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|found| found == ending));
    let named = paths.filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)));
    named.filter(|(name, path)| is_name(name) && path.is_file()).collect()
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=LONGEST).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::fault::Fault;

    fn tiers(dir: &Path) -> Tiers {
        Tiers(["project", "global", "bundled"].map(|tier| (tier, dir.join(tier))).to_vec())
    }

    fn put(dir: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        std::fs::write(dir.join(name), text).unwrap();
    }

    #[test]
    fn higher_tiers_and_yml_win() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "bundled/a.yml",
            "bundled/b.yml",
            "global/b.yaml",
            "global/b.yml",
            "project/c.yaml",
            "project/A b.yml",
            "global/.h.yml",
            "global/x.txt",
        ] {
            put(dir.path(), name, "model: x\n");
        }
        let found: Vec<_> = tiers(dir.path()).list().into_iter().map(|p| (p.name, p.source, p.path)).collect();
        let expected =
            [("a", "bundled", "bundled/a.yml"), ("b", "global", "global/b.yml"), ("c", "project", "project/c.yaml")];
        assert_eq!(found, expected.map(|(name, source, path)| (name.to_owned(), source, dir.path().join(path))));
        assert_eq!(tiers(dir.path()).find("b").unwrap().unwrap().path, dir.path().join("global/b.yml"));
        assert_eq!(tiers(dir.path()).find("zz").unwrap(), None);
    }

    // improves: 30-7.6-preset-name
    #[test]
    fn names_do_not_leave_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "outside.yml", "model: x\n");
        std::fs::create_dir_all(dir.path().join("project")).unwrap();
        let absolute = dir.path().join("outside").to_string_lossy().into_owned();
        for name in ["../outside", &absolute, "", ".", "..", "a/b", "a\0b", ".hidden", "é", &"x".repeat(200)] {
            assert_eq!(tiers(dir.path()).find(name).unwrap_err().code(), "preset-name", "{name:?}");
        }
    }

    // improves: 30-7.6-preset-list
    #[test]
    fn what_is_no_mapping_is_refused_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        for (text, code) in [
            ("- a\n", "project-yaml"),
            ("x\n", "project-yaml"),
            ("a: [\n", "project-yaml"),
            ("\u{feff}a: \u{1}", "project-yaml"),
        ] {
            put(dir.path(), "global/p.yml", text);
            let error = tiers(dir.path()).load("p").unwrap_err();
            assert_eq!(error.code(), code, "{text:?}");
            assert!(error.to_string().contains("global/p.yml"), "{error}");
        }
        assert!(tiers(dir.path()).load("q").unwrap_err().to_string().contains("available: p"));
        std::fs::remove_file(dir.path().join("global/p.yml")).unwrap();
        assert!(tiers(dir.path()).load("q").unwrap_err().to_string().contains("no presets"));
    }

    #[test]
    fn files_of_subagents_become_absolute() {
        let dir = tempfile::tempdir().unwrap();
        put(
            dir.path(),
            "global/p.yml",
            "subagents:\n- {file: x.md}\n- {file: /abs.md}\n- {file: ' '}\n- {file: 3}\n- y\n",
        );
        let (content, preset) = tiers(dir.path()).load("p").unwrap();
        let x = base::path::resolve(&dir.path().join("global/x.md")).to_string_lossy().into_owned();
        let expected = serde_json::json!([{"file": x}, {"file": "/abs.md"}, {"file": " "}, {"file": 3}, "y"]);
        assert_eq!((&content["subagents"], preset.source), (&expected, "global"));
        put(dir.path(), "global/empty.yml", "");
        assert!(tiers(dir.path()).load("empty").unwrap().0.is_empty());
    }
}
