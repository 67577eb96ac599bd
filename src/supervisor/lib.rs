//! One supervisor per container: composition, life cycle, OCI hook entry.

/// Entry of the multi-call executable: picks the duty from `argv` and runs it to the end.
pub fn main(_argv: Vec<std::ffi::OsString>) -> std::process::ExitCode {
    std::process::ExitCode::from(2)
}
