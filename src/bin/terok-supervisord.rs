//! The supervisor's daemon. Every duty lives in the `supervisor` room; this file only hands over argv.

fn main() -> std::process::ExitCode {
    supervisor::main(std::env::args_os().collect())
}
