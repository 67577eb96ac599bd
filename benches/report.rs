//! What every bench does with its figures: each on a line of its own, beside its bar, and the verdict over all.
//!
//! Included by each of them as a module, because a bench is a crate of the room that it measures.
#![allow(dead_code, reason = "not every bench needs all of it")]

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

/// A line on standard output, at once: whoever reads it waits for it.
pub fn announce(text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).expect("a reader");
}

/// Whether fewer rounds are asked for.
pub fn quick() -> bool {
    std::env::var_os("TEROK_BENCH_QUICK").is_some()
}

/// Puts this process and the children it will start before the machine's other work, where that is allowed: waiting for
/// a processor in use is no time of what is measured. What it is compared with gets the same.
pub fn go_first() {
    let myself = std::process::id().to_string();
    let done = Command::new("chrt").args(["--rr", "-p", "1", &myself]).stderr(Stdio::null()).status();
    if !done.is_ok_and(|status| status.success()) {
        announce("no right to run before others; times include waiting for a processor");
    }
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(values, 0.5)
}

pub fn percentile(values: impl IntoIterator<Item = f64>, part: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values[(last as f64 * part).round() as usize]
}

/// Private memory of a process now, in KiB.
pub fn private_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps");
    let lines = text.lines().filter(|l| l.starts_with("Private_"));
    lines.filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

/// Prints one line per figure and remembers whether a bar was missed.
#[derive(Default)]
pub struct Report {
    missed: bool,
}

impl Report {
    /// A figure without a bar.
    pub fn note(&self, figure: &str, text: &str) {
        announce(&format!("{figure:<50} {text}"));
    }

    /// A figure that has to meet its bar, and what it is compared with.
    pub fn bar(&mut self, figure: &str, bar: &str, measured: &str, against: &str, met: bool) {
        self.missed |= !met;
        let verdict = if met { "met" } else { "MISSED" };
        self.note(figure, &format!("{measured}, {against} (bar {bar})  {verdict}"));
        if std::env::var_os("TEROK_BENCH_FIGURES").is_some() {
            let line = serde_json::json!({
                "name": figure, "measured": measured, "bar": bar, "against": against, "met": met,
            });
            announce(&format!("RESULT {line}"));
        }
    }

    /// The exit status of the bench.
    pub fn verdict(&self) -> ExitCode {
        if self.missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
