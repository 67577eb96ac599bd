//! Whether a project asks for the GPUs, read from its file as it is: mistakes elsewhere in it do not matter here.

use std::path::Path;

use serde_json::Value;

/// True when `run.gpus` in `file` is true or the text `all` or `true`, in any case of letters.
pub fn wants_gpu(file: &Path) -> bool {
    let read = || {
        let content = std::fs::read_to_string(file).ok()?;
        base::yaml::parse(&content).ok()?.get("run")?.get("gpus").cloned()
    };
    match read() {
        Some(Value::Bool(flag)) => flag,
        Some(Value::String(text)) => ["all", "true"].iter().any(|word| text.trim().eq_ignore_ascii_case(word)),
        _ => false,
    }
}
