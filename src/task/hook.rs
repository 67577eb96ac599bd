//! The record of the hooks that were due in a task's current run, `hooks_fired` in its metadata.
//!
//! A hook is recorded once. A run that begins after one that was stopped begins with an empty record: otherwise a
//! second stop would look as if it had been dealt with.

use std::path::Path;

use serde_json::Value;

use crate::book::{Book, Meta, check_name};
use crate::disk::{Care, Folder};
use crate::document;
use crate::fault::TaskError;
use crate::hold::Hold;

const KEY: &str = "hooks_fired";
const FIRST: &str = "post_start";
const LAST: &str = "post_stop";

/// Records `hook` for the task whose dossier, metadata or old single file `handle` is; false without such a file.
///
/// # Errors
/// [`TaskError`]; nothing was recorded.
pub fn record(handle: &Path, hook: &str) -> Result<bool, TaskError> {
    let name = handle.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let dir = handle.parent().unwrap_or(Path::new("."));
    let new = name.strip_suffix("_dossier.json").or_else(|| name.strip_suffix("_meta.yml"));
    let Some(task) = new.or_else(|| name.strip_suffix(".json")).or_else(|| name.strip_suffix(".yml")) else {
        return Ok(false);
    };
    check_name("task identifier", task)?;
    let book = Book::new(dir);
    if book.meta_path(task)?.exists() {
        return book.change(task, |meta, _| note(meta, hook));
    }
    match new {
        Some(_) => Ok(false),
        None => record_old(dir, task, hook),
    }
}

/// The layout before there were two files: everything in `<task>.yml`.
fn record_old(dir: &Path, task: &str, hook: &str) -> Result<bool, TaskError> {
    let file = format!("{task}.yml");
    let path = dir.join(&file);
    if !path.exists() {
        return Ok(false);
    }
    let _hold = Hold::take(dir, task)?;
    let folder = Folder::open(dir).map_err(TaskError::at("open", dir))?;
    let content = folder.read(&file, crate::book::LIMIT).map_err(TaskError::at("read", &path))?;
    let Some(content) = content else { return Ok(false) };
    let mut meta = document::parse_meta(&path, &content)?;
    note(&mut meta, hook);
    let text = document::render_meta(&path, &meta)?;
    folder.replace(&file, text.as_bytes(), Care::Durable).map_err(TaskError::at("write", path))?;
    Ok(true)
}

fn note(meta: &mut Meta, hook: &str) {
    let mut fired: Vec<Value> = meta.get(KEY).and_then(Value::as_array).cloned().unwrap_or_default();
    let has = |fired: &[Value], hook: &str| fired.iter().any(|known| known == hook);
    if hook == FIRST && has(&fired, LAST) {
        fired.clear();
    }
    if !has(&fired, hook) {
        fired.push(Value::from(hook));
    }
    meta.insert(KEY.to_owned(), Value::Array(fired));
}
