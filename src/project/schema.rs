//! The two documents people write, `config.yml` and `project.yml`: which keys there are, and what may stand behind them.
//!
//! Invariants: one table per document (`schema_table`) is the only place that knows a key; checking returns the whole
//! document with every default filled in, or every error with the path of its key, worded as pydantic words them, because
//! the pydantic classes of the Python side are made from the same table. Unknown keys are errors. A top-level section
//! that is null counts as empty; a null leaf only where the table says so.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::coerce;
pub use crate::schema_table::{GLOBAL, PROJECT};

/// What may stand behind a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// A text; numbers are refused.
    Text,
    /// True or false, also as one of the words and numbers that mean it.
    Flag,
    /// A whole number between two optional limits.
    Number(Option<i64>, Option<i64>),
    /// One of the given texts, exactly.
    OneOf(&'static [&'static str]),
    /// One of the given texts, whatever its case and the blanks around it.
    Folded(&'static [&'static str]),
    /// A project identifier.
    Identifier,
    /// A list of texts.
    Texts,
    /// A text or a list of texts; blank and empty mean nothing.
    Categories,
    /// A memory limit, as podman takes it; numbers become text.
    Memory,
    /// A number of processors, as podman takes it; numbers become text.
    Cpus,
    /// A mapping of any content.
    Mapping,
    /// True, false, or a text.
    FlagOrText,
    /// A text, or true or false.
    TextOrFlag,
    /// Keys of its own.
    Section(&'static Section),
}

/// What a key means when it is absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fallback {
    /// Null.
    Nothing,
    /// A truth value.
    Flag(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(&'static str),
    /// An empty list.
    NoItems,
    /// An empty mapping, or the section with all of its defaults.
    Empty,
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What may stand behind it.
    pub shape: Shape,
    /// Whether null may stand behind it and stays null.
    pub nullable: bool,
    /// What it means when it is absent.
    pub default: Fallback,
    /// One sentence for the documentation.
    pub purpose: &'static str,
}

/// A group of keys, or a whole document.
#[derive(Debug, PartialEq)]
pub struct Section {
    /// Name of the class on the Python side, which error texts mention.
    pub class: &'static str,
    /// One sentence for the documentation.
    pub purpose: &'static str,
    /// The keys in their order.
    pub fields: &'static [Field],
    /// A pair of numbers of which the first must not be above the second.
    pub ascending: Option<(&'static str, &'static str)>,
}

/// Which document is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// `config.yml`.
    Global,
    /// `project.yml`.
    Project,
}

impl Document {
    /// Its table.
    pub fn root(self) -> &'static Section {
        match self {
            Self::Global => &GLOBAL,
            Self::Project => &PROJECT,
        }
    }
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The keys that lead to it (list positions as numbers); empty for the document as a whole.
    pub path: Vec<String>,
    /// What is wrong, in pydantic's words.
    pub message: String,
    /// Pydantic's name of the kind of error.
    pub kind: &'static str,
}

impl FieldError {
    /// The path as people write it, the parts joined with `joint`, and the message.
    pub fn line(&self, joint: &str) -> String {
        format!("{}: {}", self.path.join(joint), self.message)
    }
}

/// A message and its kind, before anybody knows where it belongs.
pub(crate) type Reason = (String, &'static str);

/// Checks a whole document; the result has every key of the table, in its order.
///
/// # Errors
/// Everything that is wrong, in the order of the table, unknown keys of a section after its known ones.
pub fn validate(document: Document, value: &Value) -> Result<Value, Vec<FieldError>> {
    let (checked, errors) = salvage(document, value);
    match errors.is_empty() {
        true => Ok(checked),
        false => Err(errors),
    }
}

/// As [`validate`], but top-level keys stand for themselves: a broken one has its default, the others keep their values.
pub fn salvage(document: Document, value: &Value) -> (Value, Vec<FieldError>) {
    let mut errors = Vec::new();
    let checked = section(document.root(), value, &mut Vec::new(), &mut errors);
    (checked, errors)
}

/// The document when nobody wrote anything.
pub fn defaults(document: Document) -> Value {
    salvage(document, &json!({})).0
}

/// The table of a document as plain data, for whoever builds classes or documentation from it.
pub fn describe(document: Document) -> Value {
    describe_section(document.root())
}

/// Converts one value as a key of the shape with that name would, for the shapes that are not pydantic's own.
///
/// # Errors
/// The reason, as a sentence without pydantic's prefix.
pub fn convert(key: &str, shape: &str, choices: &[&str], value: &Value) -> Result<Value, String> {
    let converted = coerce::named(key, shape, choices, value);
    converted.map_err(|(message, _)| message.trim_start_matches("Value error, ").to_owned())
}

fn section(table: &Section, value: &Value, path: &mut Vec<String>, errors: &mut Vec<FieldError>) -> Value {
    let empty = Map::new();
    let given = value.as_object().unwrap_or_else(|| {
        let message = format!("Input should be a valid dictionary or instance of {}", table.class);
        errors.push(FieldError { path: path.clone(), message, kind: "model_type" });
        &empty
    });
    let before = errors.len();
    let mut checked = Map::new();
    for known in table.fields {
        path.push(known.name.to_owned());
        checked.insert(known.name.to_owned(), field(known, given.get(known.name), path, errors));
        path.pop();
    }
    for key in given.keys().filter(|key| table.fields.iter().all(|known| known.name != *key)) {
        let path = path.iter().cloned().chain([key.clone()]).collect();
        errors.push(FieldError { path, message: "Extra inputs are not permitted".to_owned(), kind: "extra_forbidden" });
    }
    if errors.len() == before {
        check_order(table, &checked, path, errors);
    }
    Value::Object(checked)
}

/// A field that is wrong yields its default; the caller knows from `errors` that there was something.
fn field(known: &Field, given: Option<&Value>, path: &mut Vec<String>, errors: &mut Vec<FieldError>) -> Value {
    let before = errors.len();
    let checked = match (given, known.shape) {
        (None | Some(Value::Null), Shape::Section(inner)) => return section(inner, &json!({}), path, errors),
        (None, _) => return fallback(known),
        (Some(Value::Null), Shape::Mapping) if !known.nullable => return fallback(known),
        (Some(Value::Null), _) if known.nullable => Value::Null,
        (Some(value), Shape::Section(inner)) => section(inner, value, path, errors),
        (Some(value), Shape::Texts) => texts(value, path, errors),
        (Some(value), shape) => match coerce::value(known.name, shape, value) {
            Ok(value) => value,
            Err(reasons) => {
                errors.extend(reasons.into_iter().map(|(tag, (message, kind))| {
                    let path = path.iter().cloned().chain(tag.map(str::to_owned)).collect();
                    FieldError { path, message, kind }
                }));
                Value::Null
            }
        },
    };
    match errors.len() == before {
        true => checked,
        false => fallback(known),
    }
}

fn texts(value: &Value, path: &[String], errors: &mut Vec<FieldError>) -> Value {
    let Some(items) = value.as_array() else {
        let message = "Input should be a valid list".to_owned();
        errors.push(FieldError { path: path.to_vec(), message, kind: "list_type" });
        return Value::Null;
    };
    for (place, _) in items.iter().enumerate().filter(|(_, item)| !item.is_string()) {
        let path = path.iter().cloned().chain([place.to_string()]).collect();
        let (message, kind) = coerce::NOT_TEXT;
        errors.push(FieldError { path, message: message.to_owned(), kind });
    }
    value.clone()
}

fn check_order(table: &Section, checked: &Map<String, Value>, path: &[String], errors: &mut Vec<FieldError>) {
    let Some((first, last)) = table.ascending else { return };
    let (low, high) = (checked[first].as_i64(), checked[last].as_i64());
    if low > high {
        let message = format!("Value error, {first} must be <= {last} ({} > {})", checked[first], checked[last]);
        errors.push(FieldError { path: path.to_vec(), message, kind: "value_error" });
    }
}

fn fallback(known: &Field) -> Value {
    match (known.default, known.shape) {
        (Fallback::Nothing, _) => Value::Null,
        (Fallback::Flag(flag), _) => json!(flag),
        (Fallback::Number(number), _) => json!(number),
        (Fallback::Text(text), _) => json!(text),
        (Fallback::NoItems, _) => json!([]),
        (Fallback::Empty, Shape::Section(inner)) => section(inner, &json!({}), &mut Vec::new(), &mut Vec::new()),
        (Fallback::Empty, _) => json!({}),
    }
}

fn describe_section(table: &Section) -> Value {
    let fields: Vec<_> = table.fields.iter().map(describe_field).collect();
    json!({"class": table.class, "purpose": table.purpose, "fields": fields, "ascending": table.ascending})
}

fn describe_field(known: &Field) -> Value {
    let mut row = json!({
        "name": known.name,
        "shape": coerce::name(known.shape),
        "nullable": known.nullable,
        "default": match known.shape {
            Shape::Section(_) => Value::Null,
            _ => fallback(known),
        },
        "purpose": known.purpose,
    });
    match known.shape {
        Shape::Number(low, high) => row["limits"] = json!([low, high]),
        Shape::OneOf(choices) | Shape::Folded(choices) => row["choices"] = json!(choices),
        Shape::Section(inner) => row["section"] = describe_section(inner),
        _ => {}
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_follow_the_table() {
        let table = include_str!("../../tests/fixtures/config/document_cases.json");
        for case in serde_json::from_str::<Vec<Value>>(table).unwrap() {
            let document = match case["document"].as_str() {
                Some("global") => Document::Global,
                _ => Document::Project,
            };
            let found = validate(document, &case["given"]);
            match case.get("errors") {
                None => {
                    let found = found.unwrap_or_else(|errors| panic!("{case}: {errors:?}"));
                    for (pointer, wanted) in case["yields"].as_object().unwrap() {
                        assert_eq!(found.pointer(pointer), Some(wanted), "{case}");
                    }
                }
                Some(wanted) => {
                    let errors: Vec<_> = found.unwrap_err().iter().map(|error| error.line(".")).collect();
                    assert_eq!(&json!(errors), wanted, "{case}");
                }
            }
        }
    }

    #[test]
    fn what_is_right_is_kept_beside_what_is_wrong() {
        let given = json!({"shield": {"drop_on_task_run": false, "typo": 1}, "tui": {"default_tmux": 7},
                           "git": {"human_name": "A"}, "tuii": {}});
        let (kept, errors) = salvage(Document::Global, &given);
        assert_eq!(kept["shield"], defaults(Document::Global)["shield"]);
        assert_eq!(kept["tui"], defaults(Document::Global)["tui"]);
        assert_eq!(kept["git"]["human_name"], "A");
        let lines: Vec<_> = errors.iter().map(|error| error.path.join(".")).collect();
        assert_eq!(lines, ["shield.typo", "tui.default_tmux", "tuii"]);
    }

    #[test]
    fn the_sandbox_reads_its_sections_with_the_same_defaults() {
        let ours = defaults(Document::Global);
        for name in base::setting::names() {
            assert_eq!(ours[name], Value::Object(base::setting::defaults(name)), "{name}");
        }
    }

    #[test]
    fn every_key_is_described() {
        fn look(table: &Section) {
            assert!(table.purpose.ends_with('.') && table.class.starts_with("Raw"), "{}", table.class);
            for known in table.fields {
                assert!(known.purpose.ends_with('.'), "{}.{}", table.class, known.name);
                if let Shape::Section(inner) = known.shape {
                    look(inner);
                }
            }
        }
        look(&GLOBAL);
        look(&PROJECT);
        assert_eq!(describe(Document::Project)["fields"][0]["section"]["fields"][2]["choices"][0], "online");
    }
}
