//! The OCI hook. Every duty lives in the `supervisor` room; this file only hands over argv.

fn main() -> std::process::ExitCode {
    supervisor::front(std::env::args_os().collect())
}
