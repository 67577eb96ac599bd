//! A project's own instructions: a file, then a text, as they are.
//!
//! Refused: a file that is missing, not a plain file, not UTF-8 or larger than a megabyte; a part whose last line goes
//! on, because the instructions after it would become part of its command.

use std::io::{self, Read};
use std::path::Path;

use crate::ImageError;
use crate::project::{Project, snippet_path};

const LIMIT: u64 = 1 << 20;

/// Both parts, joined by a line break; empty when there are none.
///
/// # Errors
/// [`ImageError::SnippetMissing`], [`ImageError::SnippetUnreadable`], [`ImageError::SnippetOpen`].
pub fn text(project: &Project) -> Result<String, ImageError> {
    let mut parts = Vec::new();
    if let Some(path) = snippet_path(project) {
        parts.push(("image.user_snippet_file", read(project, &path)?));
    }
    if let Some(inline) = project.snippet_inline.as_deref().filter(|text| !text.trim().is_empty()) {
        parts.push(("image.user_snippet_inline", inline.to_owned()));
    }
    for (key, part) in &parts {
        if goes_on(part) {
            return Err(ImageError::SnippetOpen { project: project.id.clone(), key });
        }
    }
    Ok(parts.iter().map(|(_, part)| part.trim_end_matches('\n')).collect::<Vec<_>>().join("\n"))
}

fn read(project: &Project, path: &Path) -> Result<String, ImageError> {
    let unreadable = |source| ImageError::SnippetUnreadable { project: project.id.clone(), path: path.into(), source };
    let invalid = |why: &str| unreadable(io::Error::new(io::ErrorKind::InvalidData, why));
    let meta = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ImageError::SnippetMissing { project: project.id.clone(), path: path.into() },
        _ => unreadable(error),
    })?;
    if !meta.is_file() {
        return Err(invalid("it is not a plain file"));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LIMIT {
        return Err(invalid("it is larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))
}

/// True when the last line that is neither blank nor a comment ends with a continuation.
fn goes_on(text: &str) -> bool {
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.starts_with('#'));
    let marks = last.map_or(0, |line| line.len() - line.trim_end_matches('\\').len());
    marks % 2 == 1
}
