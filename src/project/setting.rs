//! The settings of `config.yml`, merged and checked.
//!
//! Invariants: the layers are the ones every other reader of this process uses (`base::config`), and a changed file is
//! seen by the next [`load`]; a broken section or layer leaves its defaults, the others keep their values, and
//! [`Settings::problems`] tells what is wrong, so that nothing is launched on settings that its author did not mean.

use std::path::PathBuf;
use std::sync::Arc;

use base::config::{self, Layer};
use base::fault::{Fault, Kind};
use base::notice;
use base::path::Namespace;
use base::shared::Shared;
use serde_json::{Map, Value};

use crate::schema::{self, Document, FieldError};

/// Configuration that cannot be acted on.
#[derive(Debug, thiserror::Error)]
#[error("the configuration in {files} is not in order: {}", .problems.join("; "))]
pub struct BadSettings {
    files: String,
    problems: Vec<String>,
}

impl Fault for BadSettings {
    fn code(&self) -> &'static str {
        "config-invalid"
    }

    fn hint(&self) -> Option<String> {
        Some("correct it first: until then its defaults would apply, which may be less strict".to_owned())
    }

    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

/// One state of the settings.
#[derive(Debug)]
pub struct Settings {
    layers: Vec<Layer>,
    raw: Map<String, Value>,
    valid: Value,
    errors: Vec<FieldError>,
}

static CURRENT: Shared<Option<Arc<Settings>>> = Shared::new();

/// The settings as the files are now.
pub fn load() -> Arc<Settings> {
    let layers = config::layers(Namespace::current());
    let mut guard = CURRENT.lock();
    if let Some(known) = guard.as_ref().filter(|known| same(&known.layers, &layers)) {
        return Arc::clone(known);
    }
    let found = Arc::new(Settings::of(layers));
    found.complain();
    *guard = Some(Arc::clone(&found));
    found
}

/// Forgets the settings and the files they came from.
pub fn forget() {
    config::forget();
    *CURRENT.lock() = None;
}

/// What is wrong with the configuration, one line each.
pub fn problems() -> Vec<String> {
    load().problems()
}

/// Refuses to go on while the configuration is not in order.
///
/// # Errors
/// [`BadSettings`] with every problem.
pub fn require_valid() -> Result<(), BadSettings> {
    let settings = load();
    match settings.problems() {
        problems if problems.is_empty() => Ok(()),
        problems => Err(BadSettings { files: settings.named_sources(), problems }),
    }
}

fn same(known: &[Layer], now: &[Layer]) -> bool {
    let alike =
        |(a, b): (&Layer, &Layer)| Arc::ptr_eq(&a.scope.data, &b.scope.data) && a.scope.source == b.scope.source;
    known.len() == now.len() && known.iter().zip(now).all(alike)
}

impl Settings {
    fn of(layers: Vec<Layer>) -> Self {
        let stack: config::Stack = layers.iter().map(|layer| layer.scope.clone()).collect();
        let raw = stack.resolve();
        let (valid, errors) = schema::salvage(Document::Global, &Value::Object(raw.clone()));
        Self { layers, raw, valid, errors }
    }

    /// Unusable files were complained about when they were read.
    fn complain(&self) {
        if self.errors.is_empty() {
            return;
        }
        let shown: Vec<_> = self.errors.iter().take(3).map(|error| error.line(".")).collect();
        let more = match self.errors.len() - shown.len() {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let (files, shown) = (self.named_sources(), shown.join("; "));
        notice::leave_for(
            "config",
            &format!("{files}: {shown}{more}; the defaults apply to these keys and their sections, and no task starts"),
        );
    }

    /// The merged files, unchecked.
    pub fn raw(&self) -> &Map<String, Value> {
        &self.raw
    }

    /// A merged section, unchecked; empty when it is no mapping.
    pub fn raw_section(&self, name: &str) -> Map<String, Value> {
        self.raw.get(name).and_then(Value::as_object).cloned().unwrap_or_default()
    }

    /// All settings, checked, with their defaults.
    pub fn valid(&self) -> &Value {
        &self.valid
    }

    /// The checked value of `section.key`, or of a key at the top; `Null` when the table knows no such key.
    pub fn value(&self, dotted: &str) -> &Value {
        dotted.split('.').fold(&self.valid, |found, key| found.get(key).unwrap_or(&Value::Null))
    }

    /// A text that is set.
    pub fn text(&self, dotted: &str) -> Option<&str> {
        self.value(dotted).as_str()
    }

    /// A truth value.
    pub fn flag(&self, dotted: &str) -> bool {
        self.value(dotted) == true
    }

    /// A number that is set.
    pub fn number(&self, dotted: &str) -> Option<i64> {
        self.value(dotted).as_i64()
    }

    /// A list of texts that is set.
    pub fn texts(&self, dotted: &str) -> Option<Vec<String>> {
        let items = self.value(dotted).as_array()?;
        Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// The files the settings come from, lowest priority first.
    pub fn sources(&self) -> Vec<PathBuf> {
        self.layers.iter().filter_map(|layer| layer.scope.source.clone()).collect()
    }

    fn named_sources(&self) -> String {
        let sources = self.sources();
        let named = sources.iter().map(|path| format!("`{}`", base::text::sanitize_tty(&path.display().to_string())));
        named.collect::<Vec<_>>().join(", ")
    }

    /// What is wrong with keys and values.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// Why files could not be used.
    pub fn faults(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().filter_map(|layer| layer.fault.as_deref())
    }

    /// One line per unusable file and per wrong key, safe to print; values of secrets do not occur.
    pub fn problems(&self) -> Vec<String> {
        let files = self.faults().map(base::text::sanitize_tty);
        let keys = self.errors.iter().map(|error| base::text::sanitize_tty(&error.line(".")));
        files.chain(keys).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Settings {
        let dir = tempfile::tempdir().unwrap();
        let layer = |(number, text): (usize, &&str)| {
            let path = dir.path().join(number.to_string());
            std::fs::write(&path, text).unwrap();
            match config::load_yaml_scope("x", &path) {
                Ok(scope) => Layer { scope, fault: None },
                Err(error) => {
                    let (level, source) = ("x".to_owned(), Some(path));
                    Layer {
                        scope: config::Scope { level, source, data: Arc::default() },
                        fault: Some(error.to_string()),
                    }
                }
            }
        };
        Settings::of(texts.iter().enumerate().map(layer).collect())
    }

    #[test]
    fn values_are_found_by_their_dotted_names() {
        let found =
            of(&["vault: {port: 5}\ntasks: {name_categories: [a]}\n", "vault: {port: null}\nexperimental: true\n"]);
        assert_eq!((found.number("vault.port"), found.flag("experimental")), (None, true));
        assert_eq!(
            (found.text("services.mode"), found.texts("tasks.name_categories")),
            (Some("socket"), Some(vec!["a".to_owned()]))
        );
        assert_eq!((found.value("no.such"), found.value("vault.port.deeper")), (&Value::Null, &Value::Null));
        assert_eq!((found.raw_section("vault").len(), found.raw_section("experimental").len()), (0, 0));
        assert!(found.problems().is_empty());
    }

    #[test]
    fn broken_layers_and_keys_are_problems() {
        let found = of(&["git: {human_name: A}\n", "a: [", "tuii: {}\nvault: {port: \"x\\e[2J\"}\n"]);
        assert_eq!(found.text("git.human_name"), Some("A"));
        let problems = found.problems();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[1].starts_with("vault.port: ") && problems[2] == "tuii: Extra inputs are not permitted");
        assert_eq!(found.sources().len(), 3);
    }
}
