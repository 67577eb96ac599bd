//! What an agent says about its work: two small YAML files in the directory that it shares with the host.
//!
//! The container can write there. So nothing below the directory is followed when it is a link, reads are limited, what
//! is read is cleaned for display, and what is written goes beside and is then put in place.

use std::io;
use std::path::Path;

use base::file::{Dir, PRIVATE};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::fault::TaskError;
use base::text::clean_line;

const STATUS: &str = "work-status.yml";
const PHASE: &str = "pending-phase.yml";
const LIMIT: u64 = 64 << 10;
/// Longest text that is shown, in characters.
const SHOWN: usize = 1000;
const CONFIG: &str = "agent-config";

/// What an agent is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// A word; not only the known ones.
    pub status: Option<String>,
    /// A sentence.
    pub message: Option<String>,
}

/// What an agent wants to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// Its name, never blank.
    pub phase: String,
    /// The prompt for it.
    pub prompt: String,
}

/// The directory of all tasks, opened once for a listing.
#[derive(Debug)]
pub struct Root(Dir);

impl Root {
    /// Opens the directory of a project's tasks.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        Dir::open(path).map(Self)
    }

    /// What the agent of `task` is doing; nothing when it does not say so in a form that can be read.
    pub fn status(&self, task: &str) -> Status {
        let path = Path::new(task).join(CONFIG).join(STATUS);
        self.0.read(&path, LIMIT).ok().and_then(|content| parse_status(&content).ok()).unwrap_or_default()
    }
}

/// What the agent says in `dir`, and why it could not be understood if so.
pub fn read_status(dir: &Path) -> (Status, Option<String>) {
    match read(dir, STATUS).map(|content| content.map(|content| parse_status(&content))) {
        Ok(Some(Ok(status))) => (status, None),
        Ok(Some(Err(reason))) => (Status::default(), Some(reason)),
        Ok(None) => (Status::default(), None),
        Err(error) => (Status::default(), Some(error.to_string())),
    }
}

/// The phase that waits in `dir`, `None` when there is none that can be understood.
pub fn read_phase(dir: &Path) -> Option<Phase> {
    let content = read(dir, PHASE).ok()??;
    let document = base::yaml::parse(std::str::from_utf8(&content).ok()?).ok()?;
    let phase = document.as_object()?.get("phase")?.as_str().map(clean_line)?;
    let prompt = match document.get("prompt") {
        None => String::new(),
        Some(prompt) => prompt.as_str()?.to_owned(),
    };
    (!phase.trim().is_empty()).then_some(Phase { phase, prompt })
}

/// Writes or, without a status, removes what the agent is doing; creates `dir`.
///
/// # Errors
/// [`TaskError::Text`] for a blank status, else the operating system's.
pub fn write_status(dir: &Path, status: Option<&str>, message: Option<&str>) -> Result<(), TaskError> {
    let Some(status) = status else { return remove(dir, STATUS) };
    if status.is_empty() {
        return Err(TaskError::Text { what: "the work status", why: "the status is empty" });
    }
    let mut members = Map::from_iter([("status".to_owned(), Value::from(status))]);
    members.extend(message.map(|message| ("message".to_owned(), Value::from(message))));
    write(dir, STATUS, &Value::Object(members))
}

/// Writes the phase that waits; creates `dir`.
///
/// # Errors
/// [`TaskError::Text`] for a blank phase, else the operating system's.
pub fn write_phase(dir: &Path, phase: &str, prompt: &str) -> Result<(), TaskError> {
    if phase.trim().is_empty() {
        return Err(TaskError::Text { what: "the pending phase", why: "the phase is empty" });
    }
    let members = [("phase", phase), ("prompt", prompt)];
    let members = members.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect();
    write(dir, PHASE, &Value::Object(members))
}

/// Removes the phase that waits, if any.
///
/// # Errors
/// The operating system's.
pub fn clear_phase(dir: &Path) -> Result<(), TaskError> {
    remove(dir, PHASE)
}

fn parse_status(content: &[u8]) -> Result<Status, String> {
    let text = std::str::from_utf8(content).map_err(|_| "it is not UTF-8".to_owned())?;
    let shown = |text: &str| clean_line(text).chars().take(SHOWN).collect::<String>();
    let member = |members: &Map<String, Value>, key: &str| members.get(key).and_then(Value::as_str).map(shown);
    match base::yaml::parse(text).map_err(|error| error.to_string())? {
        Value::String(status) => Ok(Status { status: Some(shown(&status)), message: None }),
        Value::Object(members) => {
            Ok(Status { status: member(&members, "status"), message: member(&members, "message") })
        }
        _ => Ok(Status::default()),
    }
}

/// Opens a directory whose last component must not be a link.
pub(crate) fn open(dir: &Path) -> io::Result<Dir> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "the path has no name");
    let name = dir.file_name().ok_or_else(invalid)?;
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Dir::open(parent)?.open_below(Path::new(name))
}

fn read(dir: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    match open(dir).and_then(|dir| dir.read(Path::new(name), LIMIT)) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(dir: &Path, name: &str, document: &Value) -> Result<(), TaskError> {
    let path = dir.join(name);
    let text = base::yaml::dump(document)
        .map_err(|error| TaskError::Unwritable { path: path.clone(), reason: error.to_string() })?;
    base::file::create_private_dir(dir).map_err(TaskError::at("create", dir))?;
    open(dir).and_then(|dir| dir.write_atomic(name, text.as_bytes(), PRIVATE)).map_err(TaskError::at("write", path))
}

fn remove(dir: &Path, name: &str) -> Result<(), TaskError> {
    let gone = match open(dir) {
        Ok(dir) => dir.remove_file(name).map(|_| ()),
        Err(error) => Err(error),
    };
    match gone {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(TaskError::at("remove", dir.join(name))(error)),
        _ => Ok(()),
    }
}
